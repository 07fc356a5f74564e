-- Durable waits. What only some tasks have lies beside the tasks. All of it goes when its task ends, but for `children`,
-- whose rows go with the tasks.

-- What a task waits for (`what`: event:NAME, task:SEQ, group:SEQ), as long as a branch of its handler does. `until`: when
-- it will not wait any longer. `question`: what a person is asked, as JSON. `woken`: it came while the task was running.
create table awaits (
    task integer not null,
    what text not null,
    asked_at real not null,
    until real,
    question text,
    woken integer not null default 0,
    primary key (task, what)
) without rowid;
create index awaits_what on awaits (what, task);
create index awaits_woken on awaits (task) where woken = 1;
create index awaits_asked on awaits (asked_at, task) where question is not null;

-- Events sent to tasks and not taken yet, oldest first.
create table mail (
    no integer primary key,
    task integer not null,
    name text not null,
    at real not null,
    data text,
    sender text not null
);
create index mail_of_task on mail (task, name, no);

-- Tasks that handlers started. One that is `detached` goes on when its parent fails or is cancelled.
create table children (
    task integer primary key,
    parent integer not null,
    detached integer not null
);
create index children_of_parent on children (parent, task);

-- Seconds that it was suspended; while it is, minus the instant at which that began.
alter table tasks add column away real not null default 0;

create index controls_of_task on controls (task) where task is not null;

-- How many rows these have, and how often a task was suspended: 0 spares a look.
insert into counters values ('awaits', 0), ('mail', 0), ('children', 0), ('suspended', 0);
