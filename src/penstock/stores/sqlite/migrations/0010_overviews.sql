-- Tasks of a tenant, so that listing and counting them does not walk through those of all others. Where nobody names
-- tenants it costs nothing.
create index tasks_tenant on tasks (tenant) where tenant <> '';
