-- Which events a task has, listed a thousand events at a time: those of a claim are of a hundred tasks that lie far apart,
-- and an index over `events` changed a page for each. The counter: up to which event they are listed; those behind it are
-- few enough to be looked through. An older process may remove events and leave them listed, which does no harm.
create table task_events (
    task integer not null,
    no integer not null,
    primary key (task, no)
) without rowid;
insert into task_events (task, no) select task, no from events order by task, no;
insert into counters select 'task_events', n from counters where name = 'event';
drop index events_of_task;

-- As many bytes as its first claim adds to a task (`started_at`, `was`, a longer `status`, `node`), which gives them up. So
-- no page overflows and is split: after a split the commit walks through the whole page cache (while the file is smaller
-- than 1 GiB), which took a claim over many flows a sixth of its time.
alter table tasks add column room blob default x'000000000000000000000000000000000000';
