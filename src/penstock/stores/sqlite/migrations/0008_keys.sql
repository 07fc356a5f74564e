-- API keys by the hash of each (the keys themselves are kept nowhere), and what tenants are granted. The setting
-- `keys` counts the changes, so that a server sees at one glance that there was one.

create table api_keys (
    name text not null primary key,
    digest text not null unique,
    hint text not null,
    scopes text not null,
    tenant text not null,
    created_at real not null,
    expires_at real,
    revoked_at real,
    old_digest text unique,
    old_until real
);
create table tenant_terms (
    tenant text not null primary key,
    requests_per_minute integer,
    requests_per_hour integer,
    tokens_per_minute integer,
    max_concurrent integer,
    budget integer,
    weight real
);
