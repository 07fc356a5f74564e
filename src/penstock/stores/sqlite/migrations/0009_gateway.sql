-- Files that clients of the gateway keep here (their bytes lie in a folder beside the store), and the batches they
-- ordered: `body` is JSON, `batch` the number of the batch whose tasks do the work.

create table gateway_files (
    id text primary key,
    tenant text not null,
    purpose text not null,
    filename text not null,
    bytes integer not null,
    created_at real not null,
    expires_at real
);
create index gateway_files_of on gateway_files (tenant, id);
create index gateway_files_due on gateway_files (expires_at) where expires_at is not null;

create table gateway_orders (
    id text primary key,
    tenant text not null,
    status text not null,
    created_at real not null,
    batch integer,
    body text not null
);
create index gateway_orders_of on gateway_orders (tenant, id);
create index gateway_orders_open on gateway_orders (id) where status not in ('completed', 'failed', 'expired', 'cancelled');
