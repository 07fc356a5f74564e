-- Every statement the store runs, by name; parameters are numbered in the order in which the verbs give them.
-- Lists come as one JSON array. {where} is filled with statements named where_*, joined by "and".

-- ---------------------------------------------------------------- numbers, sums, large values

-- name: counters
select name, n from counters
-- name: set_counter
update counters set n = ?2 where name = ?1
-- name: totals
select name, value from totals
-- name: add_total
update totals set value = value + ?2 where name = ?1
-- name: add_tally
insert into tally (batch, lane, status, priority, n) values (?, ?, ?, ?, ?)
on conflict do update set n = n + excluded.n
-- name: tallies
select y.lane, l.type, y.status, y.priority, sum(y.n)
from tally y join lanes l on l.id = y.lane
group by y.lane, y.status, y.priority having sum(y.n) <> 0
-- name: batch_counts
select status, sum(n) from tally where batch = ? group by status having sum(n) <> 0
-- name: keep_content
insert into contents (hash, refs, body) values (?, ?, ?)
on conflict (hash) do update set refs = refs + excluded.refs
-- name: contents
select hash, body from contents where hash in (select value from json_each(?))
-- name: drop_content
update contents set refs = refs - ?2 where hash = ?1
-- name: forget_contents
delete from contents where refs <= 0 and hash in (select value from json_each(?))

-- ---------------------------------------------------------------- lanes and tasks on their way

-- name: find_lane
select id from lanes where type = ? and model = ? and pools = ?
-- name: add_lane
insert into lanes (type, model, pools) values (?, ?, ?) returning id
-- name: lanes
select id, type, model, pools from lanes order by id
-- name: known_keys
select tenant, idempotency_key, id, fingerprint, position from tasks
where tenant = ? and idempotency_key in (select value from json_each(?))
-- name: add_task
insert into tasks (
    seq, id, type, status, ready, lane, band, key, priority, tenant, created_at, entered_at, due_at, deadline,
    finished_at, batch, position, finished_no, idempotency_key, fingerprint, retry_of, options, metadata, error, payload,
    flow, standing, program
) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- name: inherit_steps
insert into steps (task, claim_no, scope, name, digest, occurrence, kind, at, input_tokens, output_tokens, cost, content, value)
select ?2, 0, s.scope, s.name, s.digest, s.occurrence, s.kind, s.at, s.input_tokens, s.output_tokens, s.cost, s.content, s.value
from steps s where s.task = (select seq from tasks where id = ?1) order by s.no
-- name: inherit_contents
update contents set refs = refs + (select count(*) from steps where task = ?1 and content = contents.hash)
where hash in (select content from steps where task = ?1 and content is not null)
-- name: mark_inherited
update tasks set inherited = 1 where seq = ?

-- A claimable task lies in one of two indexes: tasks_line, or tasks_ready_flow if it has a flow.

-- name: line
select band, key, seq, lane from tasks
where ready = 1 and flow is null and lane = ?1 and tenant not in (select value from json_each(?2))
order by band, key, seq limit ?3
-- name: has_flows
select 1 from tasks indexed by tasks_ready_flow where ready = 1 and flow is not null and lane = ? limit 1
-- name: mixed_line
-- Tasks with and without flows as one line; of those with flows, up to ?4 are looked at.
select band, key, seq, ?1 from (
    select * from (
        select band, key, seq from tasks
        where ready = 1 and flow is null and lane = ?1 and tenant not in (select value from json_each(?2))
        order by band, key, seq limit ?3
    )
    union all
    select * from (
        select band, key, seq from tasks indexed by tasks_ready_flow
        where ready = 1 and flow is not null and lane = ?1 and (?2 = '[]' or tenant not in (select value from json_each(?2)))
        limit max(?3, ?4)
    )
) order by band, key, seq limit ?3
-- name: nameless_line
-- The tasks without a flow are of the flow ''.
select seq from (
    select * from (
        select band, key, seq from tasks
        where ready = 1 and flow is null and lane = ?1 and tenant not in (select value from json_each(?2))
        order by band, key, seq limit ?3
    )
    union all
    select * from (
        select band, key, seq from tasks
        where ready = 1 and flow = '' and lane = ?1 and tenant not in (select value from json_each(?2))
        order by band, key, seq limit ?3
    )
) order by band, key, seq limit ?3
-- name: flow_lines
select t.seq from json_each(?4) f cross join tasks t on t.seq in (
    select w.seq from tasks w
    where w.ready = 1 and w.lane = ?1 and w.flow = f.value and w.tenant not in (select value from json_each(?2))
    order by w.band, w.key, w.seq limit ?3
)

-- name: claim
update tasks
set status = 'running', was = status, ready = 0, claim_no = claim_no + 1, node = ?1, due_at = null,
    started_at = coalesce(started_at, ?2)
where seq in (
    select seq from tasks where ready = 1 and flow is null and lane = ?3 order by band, key, seq limit ?4
)
returning seq, id, type, lane, tenant, priority, band, key, payload, options, metadata, attempt, claim_no, crashes,
    created_at, entered_at, started_at, deadline, batch, position, inherited, was, flow, standing, program, freed_at
-- name: claim_flow_heads
-- One task of each flow, as is most often wanted.
update tasks
set status = 'running', was = status, ready = 0, claim_no = claim_no + 1, node = ?1, due_at = null,
    started_at = coalesce(started_at, ?2)
where seq in (
    select (
        select w.seq from tasks w
        where w.ready = 1 and w.lane = ?3 and w.flow = f.value order by w.band, w.key, w.seq limit 1
    ) from json_each(?4) f
)
returning seq, id, type, lane, tenant, priority, band, key, payload, options, metadata, attempt, claim_no, crashes,
    created_at, entered_at, started_at, deadline, batch, position, inherited, was, flow, standing, program, freed_at
-- name: claim_seqs
update tasks
set status = 'running', was = status, ready = 0, claim_no = claim_no + 1, node = ?1, due_at = null,
    started_at = coalesce(started_at, ?2)
where seq in (select value from json_each(?3))
returning seq, id, type, lane, tenant, priority, band, key, payload, options, metadata, attempt, claim_no, crashes,
    created_at, entered_at, started_at, deadline, batch, position, inherited, was, flow, standing, program, freed_at

-- name: finish
update tasks set status = ?, finished_at = ?, finished_no = ?, result = ?, error = ?, node = null
where seq = ? and claim_no = ? and status = 'running'
-- name: finished_nos
select seq, finished_no from tasks where seq in (select value from json_each(?))
-- name: large_texts
select payload, result from tasks
where seq in (select value from json_each(?)) and (payload like '@%' or result like '@%')
-- name: forget_texts
update tasks set payload = null, result = null where seq in (select value from json_each(?))

-- name: put_back
update tasks
set status = ?, ready = ?, attempt = attempt + ?, band = ?, key = ?, flow = ?,
    standing = coalesce(?, standing), due_at = ?, error = coalesce(?, error), node = null
where seq = ? and claim_no = ? and status = 'running'

-- name: due
select seq, lane, batch, priority, status from tasks where ready = 2 and due_at <= ? order by due_at limit ?
-- name: early
select seq, lane, batch, priority, status from tasks where seq in (select value from json_each(?)) and ready = 2
-- name: promote
update tasks set ready = 1, status = case status when 'suspended' then 'queued' else status end
where seq in (select value from json_each(?))
-- name: next_due
select min(at) from (
    select min(due_at) as at from tasks where ready = 2
    union all select min(expires_at) from terms where pending = 1
    union all select min(expires_at) from terms where pending = 2
)

-- name: rescuable
select t.seq, t.id, t.lane, t.batch, t.priority, t.crashes, t.node, t.created_at,
    max(t.entered_at, coalesce(t.freed_at, 0)), t.started_at
from tasks t where t.status = 'running' and t.node in (select value from json_each(?)) order by t.seq
-- name: rescue
update tasks set status = 'queued', ready = 1, attempt = attempt + 1, crashes = crashes + 1, node = null
where seq in (select value from json_each(?))
-- name: poison
update tasks
set status = 'failed', attempt = attempt + 1, crashes = crashes + 1, node = null, finished_at = ?, finished_no = ?,
    error = ?
where seq = ?

-- name: end_waiting
update tasks
set status = ?, ready = 0, finished_at = ?, finished_no = ?, error = coalesce(?, error), node = null,
    started_at = case when status = 'running' then null else started_at end
where seq = ?
-- name: pause
update tasks set status = 'paused', ready = 0 where seq in (select value from json_each(?))
-- name: resume
update tasks
set status = case
        when status = 'paused' and seq in (select task from blocked) then 'blocked'
        when status = 'paused' and attempt > 1 and error is not null then 'retrying'
        else 'queued'
    end,
    ready = case
        when status = 'paused' and seq in (select task from blocked) then 0
        when status = 'paused' and due_at > ?2 then 2
        else 1
    end
where seq in (select value from json_each(?1))
returning seq, status
-- name: rerank
update tasks set band = ?, key = ?, flow = ?
where seq = ? and (ready <> 0 or status in ('paused', 'suspended', 'blocked'))

-- ---------------------------------------------------------------- lines, flows, programs

-- name: head
-- Of tasks with flows up to ?2 are looked at.
select band, key, flow from (
    select * from (
        select band, key, seq, flow from tasks
        where ready = 1 and flow is null and lane = ?1
          and tenant not in (select substr(scope, 8) from pauses where substr(scope, 1, 7) = 'tenant:')
        order by band, key, seq limit 1
    )
    union all
    select * from (
        select band, key, seq, flow from tasks indexed by tasks_ready_flow
        where ready = 1 and flow is not null and lane = ?1 and (
            not exists (select 1 from pauses where substr(scope, 1, 7) = 'tenant:')
            or tenant not in (select substr(scope, 8) from pauses where substr(scope, 1, 7) = 'tenant:')
        )
        limit ?2
    )
) order by band, key, seq limit 1
-- name: nameless_lanes
select l.id from lanes l where exists (
    select 1 from tasks t
    where t.ready = 1 and t.flow is null and t.lane = l.id
      and t.tenant not in (select substr(scope, 8) from pauses where substr(scope, 1, 7) = 'tenant:')
)
-- name: waiting_flows
-- From each flow straight to the next, whatever waits in between.
with recursive found (lane, flow) as (
    select l.id, (
        select min(t.flow) from tasks t indexed by tasks_ready_flow
        where t.ready = 1 and t.flow is not null and t.lane = l.id
    ) from lanes l
    union all
    select f.lane, (
        select min(t.flow) from tasks t indexed by tasks_ready_flow
        where t.ready = 1 and t.lane = f.lane and t.flow > f.flow
    ) from found f where f.flow is not null
)
select f.lane, f.flow from found f
where f.flow is not null and (
    not exists (select 1 from pauses where substr(scope, 1, 7) = 'tenant:')
    or exists (
        select 1 from tasks t
        where t.ready = 1 and t.lane = f.lane and t.flow = f.flow
          and t.tenant not in (select substr(scope, 8) from pauses where substr(scope, 1, 7) = 'tenant:')
    )
)
-- name: flow_head
select band, key from tasks
where ready = 1 and lane = ? and flow = ?
  and tenant not in (select substr(scope, 8) from pauses where substr(scope, 1, 7) = 'tenant:')
order by band, key, seq limit 1
-- name: nameless_head
select band, key from (
    select * from (
        select band, key, seq from tasks
        where ready = 1 and flow is null and lane = ?1
          and tenant not in (select substr(scope, 8) from pauses where substr(scope, 1, 7) = 'tenant:')
        order by band, key, seq limit 1
    )
    union all
    select * from (
        select band, key, seq from tasks
        where ready = 1 and flow = ?2 and lane = ?1
          and tenant not in (select substr(scope, 8) from pauses where substr(scope, 1, 7) = 'tenant:')
        order by band, key, seq limit 1
    )
) order by band, key, seq limit 1
-- name: keep_flow
insert into flows (tenant, held_tokens, held_cost, served_tokens, served_cost, counter, turn, waiting_since)
values (?, 0, 0, 0, 0, ?, ?, ?)
on conflict do update set counter = excluded.counter, turn = excluded.turn, waiting_since = excluded.waiting_since
-- name: flow_standings
select tenant, counter, turn, waiting_since from flows where counter is not null order by tenant
-- name: flows_of
select flow from tasks where seq in (select value from json_each(?1)) and flow is not null
union select tenant from tasks where seq in (select value from json_each(?1))
-- name: forget_flows
-- Of the flow '' there are always tasks to come.
delete from flows
where tenant in (select value from json_each(?)) and tenant <> '' and waiting_since is null
  and held_tokens = 0 and held_cost = 0
  and not exists (select 1 from tasks t where t.tenant = flows.tenant and t.tenant <> '')
  and not exists (select 1 from tasks t where t.program = flows.tenant and t.program is not null)
-- name: latest_programs
select id, entered_at, size, attained from programs order by entered_at desc, id limit ?
-- name: seqs_claimable
select seq from (
    select lane, band, key, seq from tasks indexed by tasks_line where ready = 1 and flow is null
    union all
    select lane, band, key, seq from tasks indexed by tasks_ready_flow where ready = 1 and flow is not null
) order by lane, band, key, seq
-- name: seqs_delayed
select seq from tasks where ready = 2 order by due_at
-- name: seqs_held_back
select seq from tasks where status = 'paused' and ready = 0
union all select seq from tasks where status = 'suspended' and ready = 0
union all select seq from tasks where status = 'blocked' and ready = 0
-- name: waiting
select seq, priority, entered_at, deadline, tenant, standing, program from tasks
where seq in (select value from json_each(?)) and (ready <> 0 or status in ('paused', 'suspended', 'blocked'))
-- name: waiting_of_program
select seq, priority, entered_at, deadline, tenant, standing, program from tasks indexed by tasks_program_open
where program = ? and program is not null and finished_no is null and seq > ? and status <> 'running'
order by seq limit ?
-- name: keep_standing
update tasks set band = ?, key = ?, standing = ? where seq = ? and claim_no = ? and status = 'running'
-- name: enter_program
insert into programs (id, entered_at, size) values (?, ?, coalesce(json_extract(?, '$.size'), 0))
on conflict do update set size = size + excluded.size
-- name: serve_program
update programs set attained = attained + ?2 where id = ?1
-- name: program
select entered_at, size, attained from programs where id = ?
-- name: programs_of
select distinct program from tasks where seq in (select value from json_each(?)) and program is not null
-- name: forget_programs
delete from programs
where id in (select value from json_each(?)) and not exists (select 1 from tasks t where t.program = programs.id)

-- ---------------------------------------------------------------- choosing tasks

-- name: task_of_id
select seq, id from tasks where id = ?
-- name: tasks_of_prefix
select seq, id from tasks where id >= ? and id < ? order by id limit 2
-- name: chosen
select t.seq, t.id, t.status, t.lane, t.batch, t.priority from tasks t where {where} order by t.seq
-- name: view_one
select t.seq, t.id, t.type, l.model, t.tenant, t.priority, t.status, t.band, t.key, t.ready, t.created_at, t.due_at,
    t.started_at, t.finished_at, t.deadline, t.attempt, t.claim_no, t.crashes, t.node, t.lane, t.payload, t.options,
    t.metadata, t.result, t.error, t.input_tokens, t.output_tokens, t.cost, t.retry_of, t.batch, t.position, t.finished_no,
    t.program, x.unique_key, x.expires_at, coalesce(x.result_expired, 0), (select data from progress where task = t.seq),
    (select json_group_array(tag) from task_tags where task = t.seq),
    (select json_group_array(n.id) from edges e cross join tasks n on n.seq = e.needs where e.task = t.seq),
    (select json_group_array(d.id) from edges e cross join tasks d on d.seq = e.task where e.needs = t.seq)
from tasks t join lanes l on l.id = t.lane left join terms x on x.task = t.seq where t.seq = ?
-- name: view_newest
select t.seq, t.id, t.type, l.model, t.tenant, t.priority, t.status, t.band, t.key, t.ready, t.created_at, t.due_at,
    t.started_at, t.finished_at, t.deadline, t.attempt, t.claim_no, t.crashes, t.node, t.lane, t.payload, t.options,
    t.metadata, t.result, t.error, t.input_tokens, t.output_tokens, t.cost, t.retry_of, t.batch, t.position, t.finished_no,
    t.program, x.unique_key, x.expires_at, coalesce(x.result_expired, 0), (select data from progress where task = t.seq),
    (select json_group_array(tag) from task_tags where task = t.seq),
    (select json_group_array(n.id) from edges e cross join tasks n on n.seq = e.needs where e.task = t.seq),
    (select json_group_array(d.id) from edges e cross join tasks d on d.seq = e.task where e.needs = t.seq)
from tasks t cross join lanes l on l.id = t.lane left join terms x on x.task = t.seq where {where} order by t.seq desc limit ?
-- name: view_oldest
select t.seq, t.id, t.type, l.model, t.tenant, t.priority, t.status, t.band, t.key, t.ready, t.created_at, t.due_at,
    t.started_at, t.finished_at, t.deadline, t.attempt, t.claim_no, t.crashes, t.node, t.lane, t.payload, t.options,
    t.metadata, t.result, t.error, t.input_tokens, t.output_tokens, t.cost, t.retry_of, t.batch, t.position, t.finished_no,
    t.program, x.unique_key, x.expires_at, coalesce(x.result_expired, 0), (select data from progress where task = t.seq),
    (select json_group_array(tag) from task_tags where task = t.seq),
    (select json_group_array(n.id) from edges e cross join tasks n on n.seq = e.needs where e.task = t.seq),
    (select json_group_array(d.id) from edges e cross join tasks d on d.seq = e.task where e.needs = t.seq)
from tasks t cross join lanes l on l.id = t.lane left join terms x on x.task = t.seq where {where} order by t.seq limit ?
-- name: ids
select t.seq, t.id from tasks t where {where} order by t.seq limit ?
-- name: counts
select t.status, count(*), total(max(0.0, t.started_at - max(t.created_at, coalesce(t.freed_at, 0)))), total(max(0.0, t.finished_at - t.started_at))
from tasks t where {where} group by t.status
-- name: tags_newest
-- Jumps from tag to tag, however many tasks each has.
with recursive found (tag) as (
    select max(tag) from task_tags where tag >= ?1 and tag < ?2
    union all
    select (select max(g.tag) from task_tags g where g.tag >= ?1 and g.tag < found.tag) from found where found.tag is not null
)
select tag from found where tag is not null limit ?3
-- name: where_all
1 = 1
-- name: where_seqs
t.seq in (select value from json_each(?))
-- name: where_status_queued
t.status = 'queued'
-- name: where_status_running
t.status = 'running'
-- name: where_status_paused
t.status = 'paused'
-- name: where_status_retrying
t.status = 'retrying'
-- name: where_status_blocked
t.status = 'blocked'
-- name: where_status_suspended
t.status = 'suspended'
-- name: where_status_completed
t.status = 'completed'
-- name: where_status_failed
t.status = 'failed'
-- name: where_status_cancelled
t.status = 'cancelled'
-- name: where_types
t.type in (select value from json_each(?))
-- name: where_tenant
t.tenant = ?
-- name: where_some_tenant
-- Said twice for the index.
t.tenant = ? and t.tenant <> ''
-- name: where_priorities
t.priority in (select value from json_each(?))
-- name: where_program
t.program = ? and t.program is not null
-- name: where_batch
t.batch = ?
-- name: where_tag
t.seq in (select task from task_tags where tag = ?)
-- name: where_metadata
case when json_valid(t.metadata) then not exists (
    select 1 from json_each(?) w where not exists (
        select 1 from json_each(t.metadata) m
        where m.key = w.key and m.value is w.value
          and replace(m.type, 'integer', 'real') = replace(w.type, 'integer', 'real')
    )
) else 0 end
-- name: where_before
t.seq < ?
-- name: where_after
t.seq > ?
-- name: ahead
-- In the line of the lane, and in that of each flow in it.
with recursive me (lane, band, key, seq) as (select lane, band, key, seq from tasks where seq = ?1),
found (flow) as (
    select min(t.flow) from tasks t indexed by tasks_ready_flow
    where t.ready = 1 and t.flow is not null and t.lane = (select lane from me)
    union all
    select (
        select min(t.flow) from tasks t indexed by tasks_ready_flow
        where t.ready = 1 and t.lane = (select lane from me) and t.flow > f.flow
    ) from found f where f.flow is not null
)
select count(*) from (
    select 1 from me cross join tasks t
    where t.ready = 1 and t.flow is null and t.lane = me.lane
      and (t.band, t.key, t.seq) < (me.band, me.key, me.seq)
    union all
    select 1 from me cross join found f cross join tasks t
    where t.ready = 1 and t.lane = me.lane and t.flow = f.flow
      and (t.band, t.key, t.seq) < (me.band, me.key, me.seq)
    limit ?2
)

-- ---------------------------------------------------------------- what only some tasks have

-- name: add_edge
insert into edges (task, place, needs) values (?, ?, ?)
-- name: add_blocked
insert into blocked (task, waits_for) values (?, ?)
-- name: add_tag
insert into task_tags (tag, task) values (?, ?)
-- name: add_terms
insert into terms (task, tenant, unique_key, expires_at, pending, result_ttl) values (?, ?, ?, ?, ?, ?)
-- name: states_of
select id, seq, status from tasks where id in (select value from json_each(?))
-- name: count_down
with done (task, n) as (
    select e.task, count(*) from edges e where e.needs in (select value from json_each(?)) group by e.task
)
update blocked set waits_for = waits_for - done.n from done where blocked.task = done.task
returning task, waits_for
-- name: unblock
update tasks
set freed_at = ?2, status = case status when 'blocked' then 'queued' else status end,
    ready = case when status <> 'blocked' then ready when due_at > ?2 then 2 else 1 end
where seq in (select value from json_each(?1)) and status in ('blocked', 'paused')
returning seq, lane, batch, priority, ready, due_at, status
-- name: forget_blocked
delete from blocked where task in (select value from json_each(?))
-- name: dependents
select min(e.needs), t.seq, t.id, t.status, t.lane, t.batch, t.priority
from edges e cross join tasks t on t.seq = e.task
where e.needs in (select value from json_each(?)) and (t.status = 'blocked' or t.status = 'paused')
  and t.seq in (select task from blocked)
group by t.seq order by t.seq
-- name: dependencies
select t.id from edges e cross join tasks t on t.seq = e.needs where e.task = ? order by e.place
-- name: results_of
select id, status, result, error from tasks where id in (select value from json_each(?))
-- name: holders
select x.unique_key, t.seq, t.id, t.status, t.lane, t.batch, t.priority, t.position, t.claim_no, t.payload
from json_each(?2) k
    cross join terms x on x.task = (select max(task) from terms where tenant = ?1 and unique_key = k.value)
    cross join tasks t on t.seq = x.task
where t.finished_no is null
-- name: replace_waiting
update tasks
set payload = ?2, fingerprint = ?3, metadata = ?4, due_at = ?5,
    ready = case when ready = 0 then 0 when ?5 > ?6 then 2 else 1 end
where seq = ?1
-- name: expiring
select task from terms where pending = 1 and expires_at <= ? order by expires_at limit ?
-- name: told_later
select task from terms where pending = 2 and expires_at <= ? order by expires_at limit ?
-- name: ids_of
select id, lane from tasks where seq in (select value from json_each(?))
-- name: late
select t.seq, t.id, t.status, t.lane, t.batch, t.priority from tasks t
where t.seq in (select value from json_each(?)) and t.claim_no = 0 and t.finished_no is null order by t.seq
-- name: late_claims
select t.seq, t.id, t.was, t.lane, t.batch, t.priority from terms x cross join tasks t on t.seq = x.task
where x.task in (select value from json_each(?)) and x.expires_at <= ? and t.claim_no = 1 order by t.seq
-- name: set_pending
update terms set pending = ?2 where task in (select value from json_each(?1))
-- name: fade_later
update terms set result_until = ?1 + result_ttl where task = ?2 and result_ttl is not null
-- name: faded
select t.seq, t.result from terms x cross join tasks t on t.seq = x.task
where x.result_until <= ?1
  and (t.batch is null or t.finished_no <= coalesce((select b.written_no from batches b where b.id = t.batch), t.finished_no))
  and not exists (select 1 from edges e cross join tasks d on d.seq = e.task where e.needs = t.seq and d.finished_no is null)
order by x.result_until limit ?2
-- name: forget_results
update tasks set result = null where seq in (select value from json_each(?))
-- name: mark_faded
update terms set result_until = null, result_expired = 1 where task in (select value from json_each(?))
-- name: running_claims
select seq, claim_no from tasks where seq in (select value from json_each(?)) and status = 'running'
-- name: set_progress
insert into progress (task, data) values (?, ?) on conflict do update set data = excluded.data

-- ---------------------------------------------------------------- journal and events

-- name: record
insert into steps (
    task, claim_no, scope, name, digest, occurrence, kind, at, input_tokens, output_tokens, cost, content, value
)
select ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13
where exists (select 1 from tasks where seq = ?1 and claim_no = ?2 and status = 'running')
on conflict do nothing
-- name: holds_claim
select 1 from tasks where seq = ? and claim_no = ? and status = 'running'
-- name: find_step
select no, content from steps where task = ? and scope = ? and name = ? and digest = ? and occurrence = ?
-- name: void_step
delete from steps where no = ?
-- name: journal
select s.claim_no, s.scope, s.name, s.digest, s.occurrence, s.kind, s.at, s.input_tokens, s.output_tokens, s.cost,
    s.content, s.value
from steps s where s.task = ? order by s.no
-- name: outline
select scope, name, digest, occurrence, kind, at, input_tokens, output_tokens, cost from steps where task = ? order by no
-- name: large_steps
select content, count(*) from steps
where content is not null and task in (select value from json_each(?)) group by content
-- name: forget_steps
delete from steps where task in (select value from json_each(?))
-- name: add_event
insert into events (no, task, at, kind, data) values (?, ?, ?, ?, ?)
-- name: events
select e.no, e.task, coalesce(t.id, ''), e.at, e.kind, e.data, coalesce(t.tenant, '')
from events e left join tasks t on t.seq = e.task
where e.no > ?1 and (?3 = '[]' or e.kind in (select value from json_each(?3))) order by e.no limit ?2
-- name: events_of_task
select e.no, e.task, coalesce(t.id, ''), e.at, e.kind, e.data, coalesce(t.tenant, '')
from events e left join tasks t on t.seq = e.task
where e.task = ?4 and e.no > ?1 and (?3 = '[]' or e.kind in (select value from json_each(?3))) order by e.no limit ?2
-- name: first_event
select coalesce(min(no), 0) from events
-- name: last_event
select n from counters where name = 'event'

-- ---------------------------------------------------------------- the ledger

-- name: reserve
insert into reservations (
    id, task, claim_no, step, type, model, endpoint, tenant, node, state, at, input_held, output_held, cost_held
) values (?, ?, ?, ?, ?, ?, ?, ?, ?, 'held', ?, ?, ?, ?)
-- name: held
select id, task, tenant, model, input_held, output_held, cost_held from reservations
where id in (select value from json_each(?)) and state = 'held'
-- name: held_by_nodes
select id from reservations where state = 'held' and node in (select value from json_each(?))
-- name: settle
update reservations
set state = ?, sent_at = ?, done_at = ?, slice = ?, input_tokens = ?, output_tokens = ?, cost = ?
where id = ?
-- name: uncertain
select id, task, tenant, model, slice, input_held, output_held, cost_held from reservations
where id in (select value from json_each(?)) and state = 'uncertain'
-- name: release
update reservations set state = 'released', input_tokens = 0, output_tokens = 0, cost = 0
where id in (select value from json_each(?))
-- name: book_task
update tasks set input_tokens = input_tokens + ?, output_tokens = output_tokens + ?, cost = cost + ? where seq = ?
-- name: book_spend
insert into spend (slice, tenant, model, cost, uncertain, calls, input_tokens, output_tokens) values (?, ?, ?, ?, ?, ?, ?, ?)
on conflict do update set cost = cost + excluded.cost, uncertain = uncertain + excluded.uncertain,
    calls = calls + excluded.calls, input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens
-- name: book_flow
insert into flows (tenant, held_tokens, held_cost, served_tokens, served_cost) values (?, ?, ?, ?, ?)
on conflict do update set held_tokens = held_tokens + excluded.held_tokens, held_cost = held_cost + excluded.held_cost,
    served_tokens = served_tokens + excluded.served_tokens, served_cost = served_cost + excluded.served_cost
-- name: spend
select slice, tenant, model, cost, uncertain, calls, input_tokens, output_tokens from spend order by slice, tenant, model
-- name: reservations_held
select r.id, r.task, t.id, r.claim_no, r.step, r.type, r.model, r.endpoint, r.tenant, r.node, r.state, r.at, r.sent_at,
    r.done_at, r.input_held, r.output_held, r.cost_held, r.input_tokens, r.output_tokens, r.cost
from reservations r left join tasks t on t.seq = r.task where r.state = 'held' order by r.id limit ?
-- name: reservations_uncertain
select r.id, r.task, t.id, r.claim_no, r.step, r.type, r.model, r.endpoint, r.tenant, r.node, r.state, r.at, r.sent_at,
    r.done_at, r.input_held, r.output_held, r.cost_held, r.input_tokens, r.output_tokens, r.cost
from reservations r left join tasks t on t.seq = r.task where r.state = 'uncertain' order by r.id limit ?
-- name: reservations_in
select r.id, r.task, t.id, r.claim_no, r.step, r.type, r.model, r.endpoint, r.tenant, r.node, r.state, r.at, r.sent_at,
    r.done_at, r.input_held, r.output_held, r.cost_held, r.input_tokens, r.output_tokens, r.cost
from reservations r left join tasks t on t.seq = r.task
where r.state in (select value from json_each(?)) order by r.id limit ?
-- name: reservations_since
select r.id, r.task, t.id, r.claim_no, r.step, r.type, r.model, r.endpoint, r.tenant, r.node, r.state, r.at, r.sent_at,
    r.done_at, r.input_held, r.output_held, r.cost_held, r.input_tokens, r.output_tokens, r.cost
from reservations r left join tasks t on t.seq = r.task
where r.done_at >= ? and r.state in ('settled', 'uncertain') order by r.id
-- name: shift_ended
update reservations set at = at + ?1, sent_at = sent_at + ?1, done_at = done_at + ?1 where done_at > ?2
-- name: shift_held
update reservations set at = at + ?1 where state = 'held' and at > ?2

-- ---------------------------------------------------------------- nodes, controls, settings

-- name: join
insert into nodes (name, pid, host, started_at, lease_until) values (?, ?, ?, ?, ?) returning id
-- name: renew
update nodes set lease_until = ? where id = ?
-- name: expire
update nodes set lease_until = 0 where id = ?
-- name: is_busy
select 1 where exists (select 1 from tasks where status = 'running' and node = ?1)
    or exists (select 1 from reservations where state = 'held' and node = ?1)
-- name: leave
delete from nodes where id in (select value from json_each(?))
-- name: dead_nodes
select id from nodes where lease_until < ?
union
select node from tasks where status = 'running' and node not in (select id from nodes)
union
select node from reservations where state = 'held' and node not in (select id from nodes)
-- name: nodes
select id, name, pid, host, started_at, lease_until from nodes order by id
-- name: ask_control
insert into controls (kind, task, at) values (?, ?, ?)
-- name: controls
select no, kind, task, at from controls c
where no > ? and not exists (select 1 from tasks t where t.seq = c.task and t.finished_no is not null)
order by no
-- name: pauses
select scope from pauses order by scope
-- name: add_pause
insert into pauses (scope) values (?) on conflict do nothing
-- name: drop_pause
delete from pauses where scope = ?
-- name: setting
select value from settings where name = ?
-- name: set_setting
insert into settings (name, value) values (?, ?) on conflict do update set value = excluded.value
-- name: drop_setting
delete from settings where name = ?
-- name: forget_waits
delete from waits where node in (select value from json_each(?))
-- name: add_wait
insert into waits (node, task, reason, key, until, at) values (?, ?, ?, ?, ?, ?)
on conflict do update set until = excluded.until, at = excluded.at
-- name: waits
select task, reason, key, until, at from waits order by task, reason, key
-- name: waits_of_task
select task, reason, key, until, at from waits where task = ? order by reason, key
-- name: forget_gauges
delete from gauges where node in (select value from json_each(?))
-- name: add_gauge
insert into gauges (node, key, used, held, "limit", at) values (?, ?, ?, ?, ?, ?)
on conflict do update set used = excluded.used, held = excluded.held, "limit" = excluded."limit", at = excluded.at
-- name: gauges
select key, used, held, "limit", at from gauges order by key, at
-- name: cached
select content, value from cache where tenant = ? and digest = ? and expires_at > ?
-- name: cached_content
select content from cache where tenant = ? and digest = ?
-- name: cache
insert or replace into cache (tenant, digest, expires_at, content, value) values (?, ?, ?, ?, ?)

-- ---------------------------------------------------------------- batches

-- name: open_batch
insert into batches (
    name, input_path, output_path, errors_path, fingerprint, settings, created_at, read_bytes, read_lines, read_all,
    written_no, results_bytes, errors_bytes, results_lines, errors_lines
) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning id
-- name: update_batch
update batches set name = ?, input_path = ?, output_path = ?, errors_path = ?, fingerprint = ?, settings = ?,
    created_at = ?, read_bytes = ?, read_lines = ?, read_all = ?, written_no = ?, results_bytes = ?, errors_bytes = ?,
    results_lines = ?, errors_lines = ?
where id = ?
-- name: batch
select id, name, input_path, output_path, errors_path, fingerprint, settings, created_at, read_bytes, read_lines,
    read_all, written_no, results_bytes, errors_bytes, results_lines, errors_lines
from batches where id = ?
-- name: batch_named
select id, name, input_path, output_path, errors_path, fingerprint, settings, created_at, read_bytes, read_lines,
    read_all, written_no, results_bytes, errors_bytes, results_lines, errors_lines
from batches where name = ? order by id desc limit 1
-- name: batches
select id, name, input_path, output_path, errors_path, fingerprint, settings, created_at, read_bytes, read_lines,
    read_all, written_no, results_bytes, errors_bytes, results_lines, errors_lines
from batches order by id
-- name: finished_lines
select finished_no, id, coalesce(position, 0), status, payload, metadata, result, error, attempt, input_tokens,
    output_tokens, cost
from tasks where batch = ? and finished_no > ? order by finished_no limit ?
-- name: written_tasks
select seq from tasks where batch = ?1 and finished_no > (select dropped_no from batches where id = ?1) and finished_no <= ?2
-- name: mark_dropped
update batches set dropped_no = ?2 where id = ?1

-- ---------------------------------------------------------------- pruning and looking after

-- name: ended_tasks
select t.seq, t.batch, t.lane, t.status, t.priority from tasks t
where t.finished_at < ?1
  and (t.batch is null or t.finished_no <= coalesce((select b.written_no from batches b where b.id = t.batch), t.finished_no))
  and not exists (select 1 from edges e cross join tasks d on d.seq = e.task where e.needs = t.seq and d.finished_no is null)
order by t.finished_at limit ?2
-- name: forget_tasks
delete from tasks where seq in (select value from json_each(?))
-- name: forget_events_of_tasks
delete from events where task in (select value from json_each(?))
-- name: forget_controls_of_tasks
delete from controls where task in (select value from json_each(?))
-- name: forget_edges
delete from edges where task in (select value from json_each(?))
-- name: forget_edges_to
delete from edges where needs in (select value from json_each(?))
-- name: forget_tags
delete from task_tags where task in (select value from json_each(?))
-- name: forget_progress
delete from progress where task in (select value from json_each(?))
-- name: forget_terms
delete from terms where task in (select value from json_each(?)) returning pending
-- name: forget_empty_tallies
delete from tally where n = 0
-- name: old_events
select no, at from events order by no limit ?
-- name: forget_events
delete from events where no <= ?
-- name: forget_controls
delete from controls where at < ?
-- name: forget_reservations
delete from reservations
where id in (
    select id from reservations where done_at < ? and state in ('settled', 'released') order by done_at limit ?
)
-- name: expired_cache
select tenant, digest, content from cache where expires_at <= ? order by expires_at limit ?
-- name: oldest_cache
select tenant, digest, content from (
    select cache.rowid as no, tenant, digest, content,
           sum(coalesce(length(value), 0) + coalesce(length(contents.body), 0))
               over (order by cache.rowid desc) as bytes
    from cache left join contents on contents.hash = cache.content
)
where bytes > ? order by no limit ?
-- name: forget_cache
delete from cache where tenant = ? and digest = ?
-- name: live_bytes
select (select page_count from pragma_page_count) * (select page_size from pragma_page_size)
    - (select freelist_count from pragma_freelist_count) * (select page_size from pragma_page_size)
-- name: sizes
select 'tasks', count(*) from tasks
union all select 'steps', count(*) from steps
union all select 'events', count(*) from events
union all select 'reservations', count(*) from reservations
union all select 'contents', count(*) from contents
union all select 'content_bytes', coalesce(sum(length(body)), 0) from contents
union all select 'cached', count(*) from cache
union all select 'batches', count(*) from batches

-- ---------------------------------------------------------------- what verify asks: each row found is a fault

-- name: verify_tallies
select printf('tally of lane %s, status %s, priority %s says %s, but there are %s tasks', lane, status, priority,
    sum(n), sum(found))
from (
    select batch, lane, status, priority, n, 0 as found from tally
    union all
    select coalesce(batch, 0), lane, status, priority, 0, count(*) from tasks group by 1, 2, 3, 4
)
group by batch, lane, status, priority having sum(n) <> sum(found)
-- name: verify_open
select printf('the store counts %s open tasks, but there are %s', c.n, found)
from counters c, (select count(*) as found from tasks where status not in ('completed', 'failed', 'cancelled'))
where c.name = 'open' and c.n <> found
-- name: verify_ends
select printf('task %s is %s, but finished_no is %s', id, status, coalesce(finished_no, 'unset')) from tasks
where (status in ('completed', 'failed', 'cancelled')) <> (finished_no is not null and finished_at is not null) limit 20
-- name: verify_line
select printf('task %s is %s, but claimable', id, status) from tasks
where (ready = 1 and status not in ('queued', 'retrying'))
   or (ready = 2 and status not in ('queued', 'retrying', 'suspended')) limit 20
-- name: verify_blocked
select printf('task %s is %s and waits for %s others, but %s of them have not completed', t.id, t.status,
    coalesce(b.waits_for, 'no'),
    (select count(*) from edges e cross join tasks n on n.seq = e.needs where e.task = t.seq and n.status <> 'completed'))
from tasks t left join blocked b on b.task = t.seq
where (t.status = 'blocked' or b.task is not null) and b.waits_for is not (
    select nullif(count(*), 0) from edges e cross join tasks n on n.seq = e.needs
    where e.task = t.seq and n.status <> 'completed'
) limit 20
-- name: verify_blocked_count
select printf('the store counts %s tasks that wait for others, but there are %s', c.n, found)
from counters c, (select count(*) as found from blocked)
where c.name = 'blocked' and c.n <> found
-- name: verify_expiring
select printf('the store counts %s tasks that may expire, but there are %s', c.n, found)
from counters c, (select count(*) as found from terms where pending > 0)
where c.name = 'expiring' and c.n <> found
-- name: verify_extras
select printf('%s tells of task number %s, which does not exist', kind, task)
from (
    select 'a dependency' as kind, task from edges union all select 'a tag', task from task_tags
    union all select 'a term', task from terms union all select 'a progress', task from progress
) where task not in (select seq from tasks) limit 20
-- name: verify_contents
select printf('large value %s is named %s times, not %s', hash, sum(named), sum(refs))
from (
    select hash, refs, 0 as named from contents
    union all select content, 0, 1 from steps where content is not null
    union all select content, 0, 1 from cache where content is not null
    union all select substr(payload, 2), 0, 1 from tasks where payload like '@%'
    union all select substr(result, 2), 0, 1 from tasks where result like '@%'
)
group by hash having sum(named) <> sum(refs) limit 20
-- name: verify_lanes
select printf('task %s is in lane %s, which does not exist', t.id, t.lane)
from tasks t where not exists (select 1 from lanes l where l.id = t.lane) limit 20
-- name: verify_steps
select printf('step %s belongs to task number %s, which does not exist', s.name, s.task)
from steps s where not exists (select 1 from tasks t where t.seq = s.task) limit 20
-- name: verify_holds
select printf('reservation %s of task %s is still held, but the task has ended and its node is gone', r.id, t.id)
from reservations r join tasks t on t.seq = r.task
where r.state = 'held' and t.finished_no is not null and not exists (select 1 from nodes n where n.id = r.node) limit 20
-- name: verify_spend
select printf('spending of quarter %s, tenant "%s", model %s: %s calls for %s are booked, fewer than its reservations',
    slice, tenant, model, sum(booked_calls), sum(booked))
from (
    select slice, tenant, model, cost + uncertain as booked, calls as booked_calls, 0 as seen, 0 as seen_calls from spend
    union all
    select slice, tenant, model, 0, 0, cost, 1 from reservations where state in ('settled', 'uncertain')
)
group by slice, tenant, model having sum(booked) < sum(seen) or sum(booked_calls) < sum(seen_calls) limit 20
-- name: verify_programs
select printf('task %s belongs to program "%s", which does not exist', t.id, t.program)
from tasks t where t.program is not null and not exists (select 1 from programs p where p.id = t.program) limit 20

-- ---------------------------------------------------------------- schedules

-- name: schedule
select tenant, name, said, zone, type, created_at, jitter_seconds, missed, data, priority, details, next_at, fire_at,
    enabled, version, last_at, last_task, last_error, fired
from schedules where tenant = ?1 and name = ?2
-- name: schedules
select tenant, name, said, zone, type, created_at, jitter_seconds, missed, data, priority, details, next_at, fire_at,
    enabled, version, last_at, last_task, last_error, fired
from schedules where ?1 is null or tenant = ?1 order by tenant, name
-- name: due_schedules
select tenant, name, said, zone, type, created_at, jitter_seconds, missed, data, priority, details, next_at, fire_at,
    enabled, version, last_at, last_task, last_error, fired
from schedules where enabled = 1 and fire_at <= ?1 order by fire_at, tenant, name limit ?2
-- name: next_firing
select min(fire_at) from schedules where enabled = 1
-- name: put_schedule
insert or replace into schedules (
    tenant, name, said, zone, type, created_at, jitter_seconds, missed, data, priority, details, next_at, fire_at,
    enabled, version, last_at, last_task, last_error, fired
) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- name: move_schedule
update schedules set next_at = ?5, fire_at = ?6, version = ?7, last_at = ?8, last_task = ?9, last_error = ?10, fired = ?11
where tenant = ?1 and name = ?2 and version = ?3 and next_at = ?4 and enabled = 1
-- name: drop_schedule
delete from schedules where tenant = ?1 and name = ?2

-- ---------------------------------------------------------------- keys

-- name: api_keys
select name, digest, hint, scopes, tenant, created_at, expires_at, revoked_at, old_digest, old_until
from api_keys order by name
-- name: put_key
insert or replace into api_keys (
    name, digest, hint, scopes, tenant, created_at, expires_at, revoked_at, old_digest, old_until
) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- name: drop_key
delete from api_keys where name = ?
-- name: tenant_terms
select tenant, requests_per_minute, requests_per_hour, tokens_per_minute, max_concurrent, budget, weight
from tenant_terms order by tenant
-- name: put_terms
insert or replace into tenant_terms (
    tenant, requests_per_minute, requests_per_hour, tokens_per_minute, max_concurrent, budget, weight
) values (?, ?, ?, ?, ?, ?, ?)
-- name: drop_terms
delete from tenant_terms where tenant = ?

-- ---------------------------------------------------------------- figures for a monitor

-- name: spend_sums
select tenant, model, sum(cost), sum(uncertain), sum(calls), sum(input_tokens), sum(output_tokens)
from spend group by tenant, model order by 3 desc, tenant, model
-- name: longest_waiting
-- Of the best-ranked ?1 of each kind: what waits longest is among them unless its strategy starves it.
select min(entered_at) from (
    select entered_at from (select entered_at from tasks where ready = 1 and flow is null limit ?1)
    union all
    select entered_at from (select entered_at from tasks where ready = 1 and flow is not null limit ?1)
)

-- ---------------------------------------------------------------- files and orders of the gateway

-- name: file
select id, tenant, purpose, filename, bytes, created_at, expires_at from gateway_files where id = ?
-- name: files
select id, tenant, purpose, filename, bytes, created_at, expires_at from gateway_files
where (?1 is null or tenant = ?1) and (?2 = '' or id < ?2) order by id desc limit ?3
-- name: file_bytes
select coalesce(sum(bytes), 0) from gateway_files where tenant = ?
-- name: expired_files
select id, tenant, purpose, filename, bytes, created_at, expires_at from gateway_files
where expires_at <= ? order by expires_at limit ?
-- name: put_file
insert or replace into gateway_files (id, tenant, purpose, filename, bytes, created_at, expires_at)
values (?, ?, ?, ?, ?, ?, ?)
-- name: drop_file
delete from gateway_files where id = ?
-- name: order
select id, tenant, status, created_at, batch, body from gateway_orders where id = ?
-- name: orders
select id, tenant, status, created_at, batch, body from gateway_orders
where (?1 is null or tenant = ?1) and (?2 = '' or id < ?2) order by id desc limit ?3
-- name: open_orders
select id, tenant, status, created_at, batch, body from gateway_orders
where status not in ('completed', 'failed', 'expired', 'cancelled') order by id
-- name: put_order
insert or replace into gateway_orders (id, tenant, status, created_at, batch, body) values (?, ?, ?, ?, ?, ?)
