-- A value of more than 16 KiB is kept in parts of 8 KiB, each once by content: of a value that grows at its end only what
-- is new is stored. `size` is null for a body that is the value itself, or a part; otherwise it is the value's length, and
-- the body lists its parts in order: the 16 bytes of each hash. `refs` of a part counts how often it is listed.
alter table contents add column size integer;
