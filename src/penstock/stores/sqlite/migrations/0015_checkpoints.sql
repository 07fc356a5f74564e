-- Checkpoints of graphs: threads, their namespaces (a space is one of a thread), checkpoints, and which version of each
-- channel a checkpoint has. `expires_at`: when the thread is dropped.

create table checkpoint_threads (
    no integer primary key,
    id text not null unique,
    created_at real not null,
    touched_at real not null,
    expires_at real
);
create index checkpoint_threads_expiring on checkpoint_threads (expires_at) where expires_at is not null;

create table checkpoint_spaces (
    no integer primary key,
    thread integer not null,
    ns text not null,
    unique (thread, ns)
);

-- `rebuilt`: a JSON array of channels that are made again from the writes of ancestors. Of `body` and `content` (a hash of
-- `contents`) one is set.
create table checkpoints (
    no integer primary key,
    space integer not null,
    id text not null,
    parent text,
    run text,
    rebuilt text,
    metadata_type text not null,
    metadata blob not null,
    type text not null,
    content text,
    body blob,
    unique (space, id)
);
create index checkpoints_of_run on checkpoints (run) where run is not null;

-- One version of a channel. Its bytes are `head` and `body`, or `head` and the first `length` bytes of `log`.
create table checkpoint_values (
    no integer primary key,
    space integer not null,
    channel text not null,
    version not null,
    type text not null,
    head blob not null,
    log integer,
    length integer not null,
    body blob,
    unique (space, channel, version)
);

create table checkpoint_uses (
    checkpoint integer not null,
    value integer not null,
    primary key (checkpoint, value)
) without rowid;

-- Bytes that only grow, shared by the versions of a channel: `length` of them, whose hash is `digest`. `refs` counts the
-- values that name it.
create table checkpoint_logs (
    no integer primary key,
    refs integer not null,
    length integer not null,
    digest blob not null
);
create table checkpoint_tails (
    log integer not null,
    start integer not null,
    content text,
    body blob,
    primary key (log, start)
);

-- Pending writes. They may come before their checkpoint does, hence its id.
create table checkpoint_writes (
    no integer primary key,
    space integer not null,
    checkpoint text not null,
    task text not null,
    idx integer not null,
    path text not null,
    channel text not null,
    type text not null,
    head blob not null,
    content text,
    body blob
);
create index checkpoint_writes_of on checkpoint_writes (space, checkpoint);
