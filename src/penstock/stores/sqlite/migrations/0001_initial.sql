-- The first schema. Later files only add: old code must go on working while a newer process opens the store.
-- Times are seconds since the epoch, money is pico-dollars, texts are JSON. A text that begins with "@" stands for a
-- large value: the rest of it is the `hash` of a row in `contents`.

create table schema_version (
    version integer primary key,
    applied_at real not null
);

-- Numbers that only rise (task, event, finish, reservation), and `open`: how many tasks are not final.
create table counters (name text primary key, n integer not null) without rowid;
insert into counters values ('event', 0), ('finish', 0), ('open', 0), ('reservation', 0), ('task', 0);

create table totals (name text primary key, value real not null) without rowid;
insert into totals values ('processed', 0), ('queue_seconds', 0), ('run_seconds', 0);

create table lanes (
    id integer primary key,
    type text not null,
    model text not null,
    pools text not null,
    unique (type, model, pools)
);

-- `ready`: 1 a claim may take it, 2 it waits for `due_at`, 0 neither. `was`: the status before the last claim.
-- `inherited`: it came with the journal of another task. `finished_no` rises in the order of commits.
create table tasks (
    seq integer primary key,
    id text not null unique,
    type text not null,
    status text not null,
    was text,
    ready integer not null,
    lane integer not null,
    band integer not null,
    key real not null,
    priority integer not null,
    tenant text not null,
    created_at real not null,
    entered_at real not null,
    due_at real,
    deadline real,
    started_at real,
    finished_at real,
    attempt integer not null default 1,
    claim_no integer not null default 0,
    crashes integer not null default 0,
    inherited integer not null default 0,
    node integer,
    batch integer,
    position integer,
    finished_no integer,
    idempotency_key text,
    fingerprint text,
    retry_of text,
    input_tokens integer not null default 0,
    output_tokens integer not null default 0,
    cost integer not null default 0,
    options text,
    metadata text,
    error text,
    payload text,
    result text
);
create index tasks_line on tasks (lane, band, key, seq) where ready = 1;
create index tasks_due on tasks (due_at) where ready = 2;
create index tasks_ended on tasks (finished_at) where finished_at is not null;
create index tasks_written on tasks (batch, finished_no) where batch is not null and finished_no is not null;
create unique index tasks_idempotent on tasks (tenant, idempotency_key) where idempotency_key is not null;
-- Tasks in the statuses that few have at a time, so that listing them does not walk through all others.
create index tasks_few on tasks (status, seq)
    where status = 'running' or status = 'failed' or status = 'cancelled' or status = 'retrying'
       or status = 'paused' or status = 'suspended' or status = 'blocked';

-- How many tasks: `batch` 0 stands for none.
create table tally (
    batch integer not null,
    lane integer not null,
    status text not null,
    priority integer not null,
    n integer not null,
    primary key (batch, lane, status, priority)
) without rowid;

-- Large values, once by content; `refs` counts the rows that name them.
create table contents (
    hash text not null unique,
    refs integer not null,
    body blob not null
);

-- The journal. Of `value` and `content` (a hash of `contents`) one is set.
create table steps (
    no integer primary key,
    task integer not null,
    claim_no integer not null,
    scope text not null,
    name text not null,
    digest text not null,
    occurrence integer not null,
    kind text not null,
    at real not null,
    input_tokens integer not null,
    output_tokens integer not null,
    cost integer not null,
    content text,
    value blob,
    unique (task, scope, name, digest, occurrence)
);

create table events (
    no integer primary key,
    task integer not null,
    at real not null,
    kind text not null,
    data text
);
create index events_of_task on events (task);

-- Intents and what became of them. `slice`: the quarter of an hour (epoch // 900) it was booked in.
create table reservations (
    id integer primary key,
    task integer,
    claim_no integer not null,
    step text not null,
    type text not null,
    model text not null,
    endpoint text not null,
    tenant text not null,
    node integer not null,
    state text not null,
    at real not null,
    sent_at real,
    done_at real,
    slice integer,
    input_held integer not null,
    output_held integer not null,
    cost_held integer not null,
    input_tokens integer not null default 0,
    output_tokens integer not null default 0,
    cost integer not null default 0
);
create index reservations_held on reservations (id) where state = 'held';
create index reservations_uncertain on reservations (id) where state = 'uncertain';
create index reservations_done on reservations (done_at) where done_at is not null;

create table spend (
    slice integer not null,
    tenant text not null,
    model text not null,
    cost integer not null,
    uncertain integer not null,
    calls integer not null,
    input_tokens integer not null,
    output_tokens integer not null,
    primary key (slice, tenant, model)
) without rowid;

-- What shares are measured by: held by open reservations, and served.
create table flows (
    tenant text primary key,
    held_tokens integer not null,
    held_cost integer not null,
    served_tokens integer not null,
    served_cost integer not null
) without rowid;

create table nodes (
    id integer primary key autoincrement,
    name text not null,
    pid integer not null,
    host text not null,
    started_at real not null,
    lease_until real not null
);

create table controls (
    no integer primary key autoincrement,
    kind text not null,
    task integer,
    at real not null
);

create table pauses (scope text primary key) without rowid;
create table settings (name text primary key, value text not null) without rowid;

-- `dropped_no`: payloads and results of finished tasks up to it were forgotten.
create table batches (
    id integer primary key autoincrement,
    name text not null,
    input_path text not null,
    output_path text not null,
    errors_path text not null,
    fingerprint text not null,
    settings text not null,
    created_at real not null,
    read_bytes integer not null,
    read_lines integer not null,
    read_all integer not null,
    written_no integer not null,
    results_bytes integer not null,
    errors_bytes integer not null,
    results_lines integer not null,
    errors_lines integer not null,
    dropped_no integer not null default 0
);
create index batches_by_name on batches (name, id);

create table waits (
    node integer not null,
    task integer not null,
    reason text not null,
    key text not null,
    until real,
    at real not null,
    primary key (node, task, reason, key)
) without rowid;

create table gauges (
    node integer not null,
    key text not null,
    used real not null,
    held real not null,
    "limit" real not null,
    at real not null,
    primary key (node, key)
) without rowid;

create table cache (
    tenant text not null,
    digest text not null,
    expires_at real not null,
    content text,
    value blob,
    primary key (tenant, digest)
);
create index cache_expiry on cache (expires_at);
