-- Tasks to be made again and again. `next_at` is the next tick, `fire_at` the same with its jitter; `version` rises with
-- every change: a firing moves the row it has read, or nothing.

create table schedules (
    tenant text not null,
    name text not null,
    said text not null,
    zone text not null,
    type text not null,
    created_at real not null,
    jitter_seconds real not null,
    missed text not null,
    data text,
    priority integer not null,
    details text not null,
    next_at real not null,
    fire_at real not null,
    enabled integer not null,
    version integer not null,
    last_at real,
    last_task text,
    last_error text,
    fired integer not null,
    primary key (tenant, name)
);
create index schedules_due on schedules (fire_at) where enabled = 1;
