-- What strategies rank by. `flow`: what shares are measured by; `standing`: JSON of what the other columns do not tell;
-- `program`: the workflow that the task belongs to.

alter table tasks add column flow text;
alter table tasks add column standing text;
alter table tasks add column program text;

-- Only tasks with a flow are in it: strategies without flows pay nothing for it.
create index tasks_ready_flow on tasks (lane, flow, band, key, seq) where ready = 1 and flow is not null;
create index tasks_program on tasks (program) where program is not null;

-- Sums over all tasks of a program, in the scarce unit; kept as long as a task refers to it.
create table programs (
    id text primary key,
    entered_at real not null,
    size real not null,
    attained real not null default 0
) without rowid;
