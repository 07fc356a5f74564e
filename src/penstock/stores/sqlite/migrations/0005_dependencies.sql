-- What only some tasks have lies beside the tasks: the others pay nothing for it. Rows go with their tasks.

-- `task` needs the result of `needs`; `place` is the order in which it named them.
create table edges (
    task integer not null,
    place integer not null,
    needs integer not null,
    primary key (task, place)
) without rowid;
create index edges_of_needed on edges (needs, task);

-- Of each blocked task: how many of those it needs have not completed yet.
create table blocked (task integer primary key, waits_for integer not null);

create table task_tags (
    tag text not null,
    task integer not null,
    primary key (tag, task)
) without rowid;
create index tags_of_task on task_tags (task, tag);

-- `pending`: 1 until somebody looked at `expires_at` when it had come, 2 a claim did and `promote` has to tell of it.
-- `result_until`: set when the task ends. Of a unique key the newest task is the holder.
create table terms (
    task integer primary key,
    tenant text not null,
    unique_key text,
    expires_at real,
    pending integer not null default 0,
    result_ttl real,
    result_until real,
    result_expired integer not null default 0
);
create index terms_unique on terms (tenant, unique_key, task) where unique_key is not null;
create index terms_expiring on terms (pending, expires_at) where pending > 0;
create index terms_fading on terms (result_until) where result_until is not null;

-- What a running task said last about how far it is.
create table progress (task integer primary key, data text not null);

-- How many tasks are blocked, have an `expires_at` that was not looked at, and ever had a `result_ttl`: 0 spares a look.
insert into counters values ('blocked', 0), ('expiring', 0), ('with_ttl', 0);
