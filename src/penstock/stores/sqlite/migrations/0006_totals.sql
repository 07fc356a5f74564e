-- How many tasks ever ended in each way; `tally` forgets those that were removed.
insert into totals values ('completed', 0), ('failed', 0), ('cancelled', 0);
update totals set value = coalesce((select sum(n) from tally where status = totals.name), 0)
where name in ('completed', 'failed', 'cancelled');
