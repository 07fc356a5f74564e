-- What the tasks of a program may use in all, and what was booked on it in the transactions of the settlements. Money is
-- pico-dollars. `within`: the program around it, on which the same is booked. A row goes with the last task of its program
-- and the task that leads it.
create table program_budgets (
    program text primary key,
    name text not null,
    "limit" integer,
    max_tokens integer,
    within text,
    spent integer not null default 0,
    uncertain integer not null default 0,
    tokens integer not null default 0,
    uncertain_tokens integer not null default 0
) without rowid;

-- `program`: the innermost with a budget that a call is booked on. `tokens_most`: what is booked there when nobody knows
-- what the call used.
alter table reservations add column program text;
alter table reservations add column tokens_most integer not null default 0;
