-- How flows stand, for a restart: `counter` is service per weight with all lifts (null: no shares were measured), `turn`
-- numbers the last charge, `waiting_since` tells since when the flow has had tasks waiting, if it had.

alter table flows add column counter real;
alter table flows add column turn integer;
alter table flows add column waiting_since real;
