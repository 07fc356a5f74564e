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
insert into contents (hash, refs, size, body) values (?, ?, ?, ?)
on conflict (hash) do update set refs = refs + excluded.refs
-- name: contents
-- `size` is set where the body lists the parts of the value.
select hash, size, body from contents where hash in (select value from json_each(?))
-- name: known_contents
select hash from contents where hash in (select value from json_each(?))
-- name: drop_content
update contents set refs = refs - ?2 where hash = ?1
-- name: forget_contents
delete from contents where refs <= 0 and hash in (select value from json_each(?))
returning case when size is not null then body end

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
-- name: take_over
update tasks set result = ? where seq = ?
-- name: inherit_steps
-- Of children that came to nothing, or are about to, only that they were started is known: they are started again.
with lost as (
    select s.no
    from (select task, parent from children union all select task, parent from joined_children) c
    cross join tasks t on t.seq = c.task cross join steps s on s.task = c.parent
    where c.parent = (select seq from tasks where id = ?1)
      and (t.status in ('failed', 'cancelled')
        or t.status = 'running' and exists (select 1 from controls k where k.task = t.seq and k.kind = 'cancel'))
      and case
        when s.name = 'start ' || t.type then s.value = cast('["' || t.id || '",' || t.seq || ']' as blob)
        when s.name = 'result ' || t.type and s.value is not null and json_valid(cast(s.value as text))
            then json_extract(cast(s.value as text), '$.child') = t.id
      end
)
insert into steps (task, claim_no, scope, name, digest, occurrence, kind, at, input_tokens, output_tokens, cost, content, value)
select ?2, 0, s.scope, s.name, s.digest, case when l.no is null then s.occurrence else -1 end,
    case when l.no is null then s.kind else 'unfinished' end, s.at, s.input_tokens, s.output_tokens, s.cost,
    s.content, case when l.no is null then s.value else x'' end
from steps s left join lost l on l.no = s.no
where s.task = (select seq from tasks where id = ?1) order by s.no
on conflict do nothing
-- name: inherit_steps_before
-- What was recorded before the step of that scope, name, digest and occurrence, without its inside (?7; ?8 is that with
-- a slash); of notes alone nothing.
insert into steps (task, claim_no, scope, name, digest, occurrence, kind, at, input_tokens, output_tokens, cost, content, value)
with kept as (
    select s.* from steps s
    where s.task = (select seq from tasks where id = ?1) and s.scope <> ?7 and substr(s.scope, 1, length(?8)) <> ?8
        and s.no < (
            select o.no from steps o where o.task = s.task and o.scope = ?3 and o.name = ?4 and o.digest = ?5
                and o.occurrence = ?6
        )
)
select ?2, 0, k.scope, k.name, k.digest, k.occurrence, k.kind, k.at, k.input_tokens, k.output_tokens, k.cost, k.content, k.value
from kept k where exists (select 1 from kept where occurrence >= 0) order by k.no
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

-- "or fail", for else SQLite keeps a copy of every page that the statement changes, so as to undo it alone: over a hundred
-- flows a quarter of a claim. Whoever claims rolls the whole transaction back.
-- `room`: what the claim adds to the row takes its place.

-- name: claim
update or fail tasks
set status = 'running', was = status, ready = 0, claim_no = claim_no + 1, node = ?1, due_at = null, room = null,
    started_at = coalesce(started_at, ?2)
where seq in (
    select seq from tasks where ready = 1 and flow is null and lane = ?3 order by band, key, seq limit ?4
)
returning seq, id, type, lane, tenant, priority, band, key, payload, options, metadata, attempt, claim_no, crashes,
    created_at, entered_at, started_at, deadline, batch, position, inherited, was, flow, standing, program, freed_at
-- name: claim_flow_heads
-- One task of each flow, as is most often wanted.
update or fail tasks
set status = 'running', was = status, ready = 0, claim_no = claim_no + 1, node = ?1, due_at = null, room = null,
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
update or fail tasks
set status = 'running', was = status, ready = 0, claim_no = claim_no + 1, node = ?1, due_at = null, room = null,
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
-- name: set_aside
select seq from tasks where ready = 2 and due_at <= ?1 and status = 'queued' and crashes >= ?2 order by due_at, seq
-- name: promote
update tasks
set ready = 1, away = case status when 'suspended' then max(0.0, away + ?2) else away end,
    status = case status when 'suspended' then 'queued' else status end
where seq in (select value from json_each(?1))
-- name: next_due
select min(at) from (
    select min(due_at) as at from tasks where ready = 2
    union all select min(expires_at) from terms where pending = 1
    union all select min(expires_at) from terms where pending = 2
)

-- name: rescuable
-- Crashes count while a task gets no further: one that recorded a step in this life, or waits for others, begins anew.
select t.seq, t.id, t.lane, t.batch, t.priority,
    case
        when exists (select 1 from steps s where s.task = t.seq and s.claim_no = t.claim_no)
            or exists (select 1 from awaits a where a.task = t.seq) then 0
        else t.crashes
    end,
    t.node, t.created_at,
    max(t.entered_at, coalesce(t.freed_at, 0)), t.started_at, t.attempt
from tasks t where t.status = 'running' and t.node in (select value from json_each(?)) order by t.seq
-- name: rescue
update tasks
set status = 'queued', ready = 1, attempt = attempt + 1, node = null, crashes = 1 + case
    when exists (select 1 from steps s where s.task = tasks.seq and s.claim_no = tasks.claim_no)
        or exists (select 1 from awaits a where a.task = tasks.seq) then 0
    else crashes
end
where seq in (select value from json_each(?))
-- name: rescue_leaders
update tasks set status = 'queued', ready = 1, node = null where seq in (select value from json_each(?))
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
-- Below zero is `away` of who is suspended, or was when it was paused: it is suspended again, unless something came for it.
-- And of nobody else, though the clock be set back: `max`.
update tasks
set status = case
        when status = 'paused' and away < 0 and not exists (select 1 from awaits a where a.task = seq and a.woken = 1)
            then 'suspended'
        when status = 'paused' and away < 0 then 'queued'
        when status = 'paused' and seq in (select task from blocked) then 'blocked'
        when status = 'paused' and attempt > 1 and error is not null then 'retrying'
        else 'queued'
    end,
    ready = case
        when status = 'paused' and away < 0 and not exists (select 1 from awaits a where a.task = seq and a.woken = 1)
            then iif(due_at is null, 0, 2)
        when status = 'paused' and away < 0 then 1
        when status = 'paused' and seq in (select task from blocked) then 0
        when status = 'paused' and due_at > ?2 then 2
        else 1
    end,
    due_at = case
        when status = 'suspended' then null
        when away < 0 and exists (select 1 from awaits a where a.task = seq and a.woken = 1) then null
        else due_at
    end,
    away = case
        when status = 'suspended' then max(0.0, away + ?2)
        when away < 0 and exists (select 1 from awaits a where a.task = seq and a.woken = 1)
            then max(0.0, away + ?2)
        else away
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
-- Each is one JSON list, for there may be very many.

-- name: seqs_claimable
select json_group_array(seq) from (
    select seq from (
        select lane, band, key, seq from tasks indexed by tasks_line where ready = 1 and flow is null
        union all
        select lane, band, key, seq from tasks indexed by tasks_ready_flow where ready = 1 and flow is not null
    ) order by lane, band, key, seq
)
-- name: seqs_delayed
select json_group_array(seq) from (select seq from tasks where ready = 2 order by due_at)
-- name: seqs_held_back
select json_group_array(seq) from (
    select seq from tasks where status = 'paused' and ready = 0
    union all select seq from tasks where status = 'suspended' and ready = 0
    union all select seq from tasks where status = 'blocked' and ready = 0
)
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
-- name: subtasks
select t.id from (
    select task from members where grp = ?1 union select task from children where parent = ?1
) s cross join tasks t on t.seq = s.task order by t.seq limit ?2
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
  and not exists (select 1 from members m cross join tasks c on c.seq = m.grp where m.task = t.seq and c.finished_no is null)
  and not exists (select 1 from children h cross join tasks p on p.seq = h.parent where h.task = t.seq and p.finished_no is null)
  and not exists (
    select 1 from joined_children h cross join tasks p on p.seq = h.parent where h.task = t.seq and p.finished_no is null
  )
order by x.result_until limit ?2
-- name: forget_results
update tasks set result = null where seq in (select value from json_each(?))
-- name: mark_faded
update terms set result_until = null, result_expired = 1 where task in (select value from json_each(?))
-- name: running_claims
select seq, claim_no from tasks where seq in (select value from json_each(?)) and status = 'running'
-- name: note_fallback
update tasks set metadata = json_set(coalesce(metadata, '{}'), '$.fallback', json(?2)) where seq = ?1
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
select scope, name, digest, occurrence, kind, at, input_tokens, output_tokens, cost from steps
where task = ? and kind not in ('unfinished', 'version') order by no
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
-- name: list_events
-- "or ignore" (none is listed yet), for else SQLite keeps a copy of every page that the statement changes.
insert or ignore into task_events (task, no) select task, no from events where no > ? and no <= ? order by task, no
-- name: events_of_task
-- Those that are listed, then the latest.
select l.no, e.task, coalesce(t.id, ''), e.at, e.kind, e.data, coalesce(t.tenant, '')
from task_events l cross join events e on e.no = l.no left join tasks t on t.seq = e.task
where l.task = ?4 and l.no > ?1 and l.no <= (select n from counters where name = 'task_events')
  and (?3 = '[]' or e.kind in (select value from json_each(?3)))
union all
select e.no, e.task, coalesce(t.id, ''), e.at, e.kind, e.data, coalesce(t.tenant, '')
from events e left join tasks t on t.seq = e.task
where e.no > max(?1, (select n from counters where name = 'task_events')) and e.task = ?4
  and (?3 = '[]' or e.kind in (select value from json_each(?3)))
order by 1 limit ?2
-- name: last_event
select n from counters where name = 'event'

-- ---------------------------------------------------------------- the ledger

-- name: reserve
insert into reservations (
    id, task, claim_no, step, type, model, endpoint, tenant, node, state, at, input_held, output_held, cost_held
) values (?, ?, ?, ?, ?, ?, ?, ?, ?, 'held', ?, ?, ?, ?)
-- name: bind_reservation
update reservations set program = ?, tokens_most = ? where id = ?
-- name: held
select id, task, tenant, model, program, tokens_most, input_held, output_held, cost_held from reservations
where id in (select value from json_each(?)) and state = 'held'
-- name: held_by_nodes
select id from reservations where state = 'held' and node in (select value from json_each(?))
-- name: settle
update reservations
set state = ?, sent_at = ?, done_at = ?, slice = ?, input_tokens = ?, output_tokens = ?, cost = ?
where id = ?
-- name: uncertain
select id, task, tenant, model, slice, program, tokens_most, input_held, output_held, cost_held from reservations
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

-- ---------------------------------------------------------------- groups

-- name: open_group
insert into groups (id, places, stops) values (?, ?, ?)
-- name: group
select g.id, g.total, g.open, g.completed, g.failed, g.cancelled,
    (select node from members where task = g.stopped_by), g.places, g.closed, g.stops
from groups g where g.id = ?
-- name: group_of
select grp, node from members where task = ?
-- name: members
select t.seq, t.id, m.node, t.type, t.status, m.stops, t.attempt, t.created_at, t.freed_at, t.started_at, t.finished_at,
    t.finished_no, t.input_tokens, t.output_tokens, t.cost, t.error, m.undo
from members m cross join tasks t on t.seq = m.task where m.grp = ? and m.task > ? order by m.task limit ?
-- name: members_named
select t.seq, t.id, m.node, t.type, t.status, m.stops, t.attempt, t.created_at, t.freed_at, t.started_at, t.finished_at,
    t.finished_no, t.input_tokens, t.output_tokens, t.cost, t.error, m.undo
from members m cross join tasks t on t.seq = m.task
where m.grp = ? and m.node in (select value from json_each(?)) order by m.task
-- name: undoable
select t.seq, t.id, m.node, t.type, t.status, m.stops, t.attempt, t.created_at, t.freed_at, t.started_at, t.finished_at,
    t.finished_no, t.input_tokens, t.output_tokens, t.cost, t.error, m.undo
from members m cross join tasks t on t.seq = m.task
where m.grp = ? and m.undo is not null and t.status = 'completed' order by t.finished_no desc
-- name: member_ids
select m.node, t.id from members m cross join tasks t on t.seq = m.task where m.grp = ? order by m.task
-- name: member_needs
select m.node, n.node from members m cross join edges e on e.task = m.task cross join members n on n.task = e.needs
where m.grp = ? and n.grp = m.grp order by m.task, e.place
-- name: repeated_members
-- Of groups led by what tries something again: those of the others are none.
select m.grp, m.node, t.id, t.retry_of
from groups g cross join tasks l on l.seq = g.id cross join members m on m.grp = g.id cross join tasks t on t.seq = m.task
where g.id > ? and l.retry_of is not null and t.retry_of is not null order by m.task
-- name: inputs_of
select e.task, n.id, n.status, n.result from edges e cross join tasks n on n.seq = e.needs
where e.task in (select value from json_each(?)) order by e.task, e.place
-- name: join_group
insert into members (task, grp, node, stops, undo) values (?, ?, ?, ?, ?)
-- name: joined
select seq, status, lane, batch, priority, created_at, finished_no from tasks where seq in (select value from json_each(?))
-- name: grow_group
update groups set total = total + ?2, open = open + ?2 where id = ?1
-- name: members_among
select task, grp, stops from members where task in (select value from json_each(?))
-- name: count_group
update groups set open = open - ?2, completed = completed + ?3, failed = failed + ?4, cancelled = cancelled + ?5
where id = ?1 returning open, closed
-- name: stop_group
update groups set stopped_by = ?2 where id = ?1
-- name: leading
select id from groups where id in (select value from json_each(?)) and closed = 0
-- name: leaders_among
select id from groups where id in (select value from json_each(?))
-- name: close_groups
update groups set closed = 1 where id in (select value from json_each(?)) and closed = 0
-- name: open_members
select t.seq, t.id, t.status, t.lane, t.batch, t.priority from members m cross join tasks t on t.seq = m.task
where m.grp in (select value from json_each(?)) and t.finished_no is null order by t.seq
-- name: need_place
insert into places (task, grp, turn, state) values (?, ?, ?, ?)
-- name: block_once_more
update blocked set waits_for = waits_for + 1 where task in (select value from json_each(?))
-- name: hold_back
update tasks set status = 'blocked', ready = 0 where seq in (select value from json_each(?))
-- name: give_places
delete from places where task in (select value from json_each(?)) returning grp, state
-- name: free_places
update groups set taken = taken - ?2 where id = ?1
-- name: next_for_place
update places set state = 1 where task in (select value from json_each(?)) and state = 0 returning grp
-- name: take_places
update places set state = 2
where task in (
    select p.task from places p where p.grp = ?1 and p.state = 1 order by p.turn, p.task
    limit max(0, (select g.places - g.taken from groups g where g.id = ?1))
)
returning task
-- name: places_taken
update groups set taken = taken + ?2 where id = ?1
-- name: forget_groups
delete from groups where id in (select value from json_each(?))
-- name: forget_members
delete from members where task in (select value from json_each(?))

-- ---------------------------------------------------------------- pruning and looking after

-- name: ended_tasks
select t.seq, t.batch, t.lane, t.status, t.priority from tasks t
where t.finished_at < ?1
  and (t.batch is null or t.finished_no <= coalesce((select b.written_no from batches b where b.id = t.batch), t.finished_no))
  and not exists (select 1 from edges e cross join tasks d on d.seq = e.task where e.needs = t.seq and d.finished_no is null)
  and not exists (select 1 from members m cross join tasks c on c.seq = m.grp where m.task = t.seq and c.finished_no is null)
  and not exists (select 1 from children h cross join tasks p on p.seq = h.parent where h.task = t.seq and p.finished_no is null)
  and not exists (
    select 1 from joined_children h cross join tasks p on p.seq = h.parent where h.task = t.seq and p.finished_no is null
  )
order by t.finished_at limit ?2
-- name: forget_tasks
delete from tasks where seq in (select value from json_each(?))
-- name: forget_events_of_tasks
delete from events where no in (
    select no from task_events where task in (select value from json_each(?1))
    union all
    select no from events
    where no > (select n from counters where name = 'task_events') and task in (select value from json_each(?1))
)
-- name: forget_lists_of_tasks
delete from task_events where task in (select value from json_each(?))
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
-- name: forget_lists_of_events
delete from task_events where (task, no) in (select task, no from events where no <= ?)
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
           sum(coalesce(length(value), 0) + coalesce(contents.size, length(contents.body), 0))
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
union all select 'checkpoints', count(*) from checkpoints

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
where (t.status = 'blocked' or b.task is not null) and b.waits_for is not nullif(
    (select count(*) from edges e cross join tasks n on n.seq = e.needs where e.task = t.seq and n.status <> 'completed')
    + (select count(*) from places p where p.task = t.seq and p.state < 2), 0
) limit 20
-- name: verify_blocked_count
select printf('the store counts %s tasks that wait for others, but there are %s', c.n, found)
from counters c, (select count(*) as found from blocked)
where c.name = 'blocked' and c.n <> found
-- name: verify_groups
select printf('group %s counts %s members, %s of them open, and %s places taken, but there are %s, %s and %s',
    g.id, g.total, g.open, g.taken, count(m.task), coalesce(sum(t.finished_no is null), 0), coalesce(sum(p.state = 2), 0))
from groups g left join members m on m.grp = g.id left join tasks t on t.seq = m.task left join places p on p.task = m.task
where g.closed = 0 group by g.id
having g.total <> count(m.task) or g.open <> coalesce(sum(t.finished_no is null), 0)
    or g.taken <> coalesce(sum(p.state = 2), 0) limit 20
-- name: verify_group_counts
select printf('the store counts %s %s that have not ended, but there are %s', c.n, c.name, found)
from counters c, (
    select 'members' as name, count(*) as found from members m cross join tasks t on t.seq = m.task where t.finished_no is null
    union all select 'groups', count(*) from groups where closed = 0
    union all select 'places', count(*) from places
) f on f.name = c.name where c.n <> found
-- name: verify_waits
select printf('task %s has ended, but %s', t.id, kind)
from (
    select task, 'waits for ' || what as kind from awaits union all select task, 'keeps event ' || name from mail
) cross join tasks t on t.seq = task where t.finished_no is not null limit 20
-- name: verify_wait_counts
select printf('the store counts %s rows of %s, but there are %s', c.n, c.name, found)
from counters c, (
    select 'awaits' as name, count(*) as found from awaits union all select 'mail', count(*) from mail
    union all select 'children', count(*) from children
) f on f.name = c.name where c.n <> found
-- name: verify_expiring
select printf('the store counts %s tasks that may expire, but there are %s', c.n, found)
from counters c, (select count(*) as found from terms where pending > 0)
where c.name = 'expiring' and c.n <> found
-- name: verify_extras
select printf('%s tells of task number %s, which does not exist', kind, task)
from (
    select 'a dependency' as kind, task from edges union all select 'a tag', task from task_tags
    union all select 'a term', task from terms union all select 'a progress', task from progress
    union all select 'a group', id from groups union all select 'a membership', task from members
    union all select 'a wait', task from awaits union all select 'an event for a task', task from mail
    union all select 'a child', task from children union all select 'a child of several', task from joined_children
) where task not in (select seq from tasks) limit 20
-- name: verify_contents
with recursive listed (whole, at, part) as (
    select hash, 1, lower(hex(substr(body, 1, 16))) from contents where size is not null
    union all
    select whole, at + 16, lower(hex(substr(body, at + 16, 16)))
    from listed join contents on hash = whole where at + 16 < length(body)
)
select printf('large value %s is named %s times, not %s', hash, sum(named), sum(refs))
from (
    select hash, refs, 0 as named from contents
    union all select content, 0, 1 from steps where content is not null
    union all select content, 0, 1 from cache where content is not null
    union all select content, 0, 1 from checkpoints where content is not null
    union all select content, 0, 1 from checkpoint_tails where content is not null
    union all select content, 0, 1 from checkpoint_writes where content is not null
    union all select substr(payload, 2), 0, 1 from tasks where payload like '@%'
    union all select substr(result, 2), 0, 1 from tasks where result like '@%'
    union all select part, 0, 1 from listed
    union all select substr(data, 2), 0, 1 from mail where data like '@%'
)
group by hash having sum(named) <> sum(refs) limit 20
-- name: verify_lanes
select printf('task %s is in lane %s, which does not exist', t.id, t.lane)
from tasks t where not exists (select 1 from lanes l where l.id = t.lane) limit 20
-- name: verify_steps
select printf('step %s belongs to task number %s, which does not exist', s.name, s.task)
from steps s where not exists (select 1 from tasks t where t.seq = s.task) limit 20
-- name: verify_task_events
select printf('event %s of task number %s is not in the list of the task''s events', e.no, e.task)
from events e
where e.no <= (select n from counters where name = 'task_events')
  and not exists (select 1 from task_events l where l.task = e.task and l.no = e.no) limit 20
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

-- ---------------------------------------------------------------- checkpoints of graphs

-- name: touch_thread
insert into checkpoint_threads (id, created_at, touched_at, expires_at) values (?1, ?2, ?2, ?3)
on conflict (id) do update set touched_at = excluded.touched_at, expires_at = excluded.expires_at
returning no
-- name: find_space
select no from checkpoint_spaces where thread = ? and ns = ?
-- name: add_space
insert into checkpoint_spaces (thread, ns) values (?, ?) returning no
-- name: space_named
select s.no from checkpoint_threads t join checkpoint_spaces s on s.thread = t.no where t.id = ? and s.ns = ?
-- name: spaces_of_threads
select s.no, s.ns from checkpoint_threads t join checkpoint_spaces s on s.thread = t.no
where t.id in (select value from json_each(?)) order by s.no
-- name: spaces_named
select no from checkpoint_spaces where ns = ?
-- name: checkpoint_threads
select t.id, t.created_at, t.touched_at, t.expires_at,
    (select count(*) from checkpoint_spaces s join checkpoints c on c.space = s.no where s.thread = t.no),
    (select json_group_array(s.ns) from checkpoint_spaces s where s.thread = t.no)
from checkpoint_threads t where t.id >= ?1 and t.id < ?1 || char(1114111) and t.id > ?2 order by t.id limit ?3

-- name: checkpoint_at
select no from checkpoints where space = ? and id = ?
-- name: newest_checkpoint
select no from checkpoints where space = ? order by id desc limit 1
-- name: list_checkpoints_of_space
select no, space, id, metadata_type, metadata from checkpoints
where space = ?1 and id >= ?2 and id < ?3 order by id desc limit ?4
-- name: list_checkpoints_of_spaces
select no, space, id, metadata_type, metadata from checkpoints
where space in (select value from json_each(?1)) and id >= ?2 and id < ?3 and (id, space) < (?4, ?5)
order by id desc, space desc limit ?6
-- name: list_checkpoints
select no, space, id, metadata_type, metadata from checkpoints
where id >= ?1 and id < ?2 and (id, space) < (?3, ?4) order by id desc, space desc limit ?5
-- name: checkpoint_rows
select c.no, c.space, t.id, s.ns, c.id, c.parent, c.type, c.content, c.body, c.metadata_type, c.metadata
from checkpoints c join checkpoint_spaces s on s.no = c.space join checkpoint_threads t on t.no = s.thread
where c.no in (select value from json_each(?)) order by c.id desc, c.space desc
-- name: values_of_checkpoints
select u.checkpoint, v.channel, v.type, v.head, v.log, v.length, v.body
from checkpoint_uses u join checkpoint_values v on v.no = u.value
where u.checkpoint in (select value from json_each(?))
-- name: values_numbered
select no, channel, type, head, log, length, body from checkpoint_values
where no in (select value from json_each(?))
-- name: tails
select log, content, body from checkpoint_tails where log = ? and start < ? order by start
-- name: writes_of_checkpoints
select checkpoint, task, idx, channel, type, head, content, body, path from checkpoint_writes
where space = ? and checkpoint in (select value from json_each(?)) order by path, task, idx
-- name: writes_to_channels
select checkpoint, task, idx, channel, type, head, content, body, path from checkpoint_writes
where space = ? and checkpoint in (select value from json_each(?)) and channel in (select value from json_each(?))
order by path, task, idx
-- name: ancestors
with recursive chain (depth, no, id, parent) as (
    select 0, no, id, parent from checkpoints where space = ?1 and id = ?2
    union all
    select chain.depth + 1, c.no, c.id, c.parent
    from chain join checkpoints c on c.space = ?1 and c.id = chain.parent where chain.depth < ?3
)
select no, id, parent from chain order by depth
-- name: values_of_channels
select u.checkpoint, v.channel, v.no from checkpoint_uses u join checkpoint_values v on v.no = u.value
where u.checkpoint in (select value from json_each(?)) and v.channel in (select value from json_each(?))

-- name: add_checkpoint
insert into checkpoints (space, id, parent, run, rebuilt, metadata_type, metadata, type, content, body)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning no
-- name: logs_of_parent
select v.channel, l.no, l.length, l.digest
from checkpoints c join checkpoint_uses u on u.checkpoint = c.no join checkpoint_values v on v.no = u.value
join checkpoint_logs l on l.no = v.log and l.length = v.length
where c.space = ? and c.id = ? and v.channel in (select value from json_each(?))
-- name: add_value
insert into checkpoint_values (space, channel, version, type, head, log, length, body) values (?, ?, ?, ?, ?, ?, ?, ?)
on conflict do nothing
-- name: take_value
select no, log from checkpoint_values where space = ? and channel = ? and version = ?
-- name: replace_value
update checkpoint_values set type = ?2, head = ?3, log = ?4, length = ?5, body = ?6 where no = ?1
-- name: use_values
insert or ignore into checkpoint_uses (checkpoint, value)
select ?1, v.no from json_each(?3) p cross join checkpoint_values v
    on v.space = ?2 and v.channel = json_extract(p.value, '$[0]') and v.version = json_extract(p.value, '$[1]')
-- name: add_log
insert into checkpoint_logs (refs, length, digest) values (1, ?, ?) returning no
-- name: extend_log
update checkpoint_logs set refs = refs + 1, length = ?2, digest = ?3 where no = ?1
-- name: share_log
update checkpoint_logs set refs = refs + ?2 where no = ?1
-- name: drop_log
update checkpoint_logs set refs = refs - ?2 where no = ?1
-- name: forget_logs
delete from checkpoint_logs where refs <= 0 and no in (select value from json_each(?)) returning no
-- name: forget_tails
delete from checkpoint_tails where log in (select value from json_each(?)) returning content
-- name: add_tail
insert into checkpoint_tails (log, start, content, body) values (?, ?, ?, ?)
-- name: find_write
select no, content from checkpoint_writes where space = ? and checkpoint = ? and task = ? and idx = ?
-- name: add_write
insert into checkpoint_writes (space, checkpoint, task, idx, path, channel, type, head, content, body)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- name: forget_write
delete from checkpoint_writes where no = ?
-- name: share_content
update contents set refs = refs + ?2 where hash = ?1

-- name: forget_checkpoints
delete from checkpoints where no in (select value from json_each(?)) returning content
-- name: forget_uses
delete from checkpoint_uses where checkpoint in (select value from json_each(?))
-- name: forget_writes_of
delete from checkpoint_writes where space = ? and checkpoint in (select value from json_each(?)) returning content
-- name: forget_stray_writes
delete from checkpoint_writes where space = ?1 and checkpoint < ?2
    and not exists (select 1 from checkpoints c where c.space = ?1 and c.id = checkpoint_writes.checkpoint)
returning content
-- name: forget_unused_values
delete from checkpoint_values where space = ?1
    and no not in (
        select u.value from checkpoints c join checkpoint_uses u on u.checkpoint = c.no where c.space = ?1
    )
returning log
-- name: checkpoints_of_space
select no, id from checkpoints where space = ? order by id desc
-- name: rebuilt_of
select rebuilt from checkpoints where no = ?
-- name: checkpoints_of_runs
select c.no, c.space, c.id, s.thread from checkpoints c join checkpoint_spaces s on s.no = c.space
where c.run in (select value from json_each(?))
-- name: robbed_threads
select distinct t.id
from checkpoints c join checkpoint_spaces s on s.no = c.space join checkpoint_threads t on t.no = s.thread
where c.space = ?1 and c.rebuilt is not null and c.parent in (select value from json_each(?2))
-- name: forget_space_writes
delete from checkpoint_writes where space in (select value from json_each(?)) returning content
-- name: forget_space_uses
delete from checkpoint_uses
where checkpoint in (select no from checkpoints where space in (select value from json_each(?)))
-- name: forget_space_checkpoints
delete from checkpoints where space in (select value from json_each(?)) returning content
-- name: forget_space_values
delete from checkpoint_values where space in (select value from json_each(?)) returning log
-- name: forget_spaces
delete from checkpoint_spaces where no in (select value from json_each(?))
-- name: forget_threads
delete from checkpoint_threads where id in (select value from json_each(?))
-- name: forget_empty_threads
delete from checkpoint_threads where no in (select value from json_each(?))
    and not exists (
        select 1 from checkpoint_spaces s where s.thread = checkpoint_threads.no and (
            exists (select 1 from checkpoints c where c.space = s.no)
            or exists (select 1 from checkpoint_writes w where w.space = s.no)
        )
    )
returning no
-- name: forget_spaces_of_threads
delete from checkpoint_spaces where thread in (select value from json_each(?))
-- name: idle_threads
select id from checkpoint_threads where expires_at <= ? order by expires_at limit ?

-- name: common_checkpoints
select c.no, c.id from checkpoints c join checkpoints o on o.space = ?1 and o.id = c.id where c.space = ?2
-- name: copy_values
insert into checkpoint_values (space, channel, version, type, head, log, length, body)
select ?2, channel, version, type, head, log, length, body from checkpoint_values where space = ?1 order by no
on conflict do nothing returning log
-- name: copy_checkpoints
insert into checkpoints (space, id, parent, run, rebuilt, metadata_type, metadata, type, content, body)
select ?2, id, parent, run, rebuilt, metadata_type, metadata, type, content, body
from checkpoints where space = ?1 order by no returning content
-- name: copy_uses
insert or ignore into checkpoint_uses (checkpoint, value)
select n.no, m.no
from checkpoints c join checkpoint_uses u on u.checkpoint = c.no join checkpoint_values v on v.no = u.value
join checkpoints n on n.space = ?2 and n.id = c.id
join checkpoint_values m on m.space = ?2 and m.channel = v.channel and m.version = v.version
where c.space = ?1
-- name: writes_there
select distinct checkpoint from checkpoint_writes where space = ?
-- name: copy_writes
insert into checkpoint_writes (space, checkpoint, task, idx, path, channel, type, head, content, body)
select ?2, checkpoint, task, idx, path, channel, type, head, content, body
from checkpoint_writes where space = ?1 order by no returning content

-- name: verify_checkpoint_logs
select printf('log %s of checkpoints is named %s times, not %s', no, sum(named), sum(refs))
from (
    select no, refs, 0 as named from checkpoint_logs
    union all select log, 0, 1 from checkpoint_values where log is not null
)
group by no having sum(named) <> sum(refs) limit 20
-- name: verify_checkpoint_lengths
select printf('log %s of checkpoints has no byte %s of %s', l.no, v.length, l.length)
from checkpoint_values v left join checkpoint_logs l on l.no = v.log
where v.log is not null and (l.no is null or v.length > l.length) limit 20
-- name: verify_checkpoint_tails
select printf('a tail belongs to log %s of checkpoints, which does not exist', t.log)
from checkpoint_tails t where not exists (select 1 from checkpoint_logs l where l.no = t.log) limit 20
-- name: verify_checkpoint_uses
select printf('checkpoint number %s has value number %s, and one of them does not exist', u.checkpoint, u.value)
from checkpoint_uses u
where not exists (select 1 from checkpoints c where c.no = u.checkpoint)
   or not exists (select 1 from checkpoint_values v where v.no = u.value) limit 20
-- name: verify_checkpoint_spaces
select printf('%s belongs to namespace number %s, which does not exist', kind, space)
from (
    select 'a checkpoint' as kind, space from checkpoints union all select 'a value', space from checkpoint_values
    union all select 'a pending write', space from checkpoint_writes
) where space not in (select s.no from checkpoint_spaces s join checkpoint_threads t on t.no = s.thread) limit 20

-- ---------------------------------------------------------------- durable waits

-- name: wait_again
update awaits set woken = 0, until = ?3, question = ?4 where task = ?1 and what = ?2
-- name: add_await
insert into awaits (task, what, asked_at, until, question) values (?, ?, ?, ?, ?)
-- name: end_await
delete from awaits where task = ? and what = ?
-- name: awaiting
select a.task, a.what, t.status, t.lane, t.batch, t.priority
from json_each(?) w cross join awaits a on a.what = w.value cross join tasks t on t.seq = a.task
-- name: awaiting_of_task
select a.task, a.what, t.status, t.lane, t.batch, t.priority
from awaits a cross join tasks t on t.seq = a.task where a.task = ? and a.what = ?
-- name: mark_woken
update awaits set woken = 1 where task = ? and what = ?
-- name: wake
update tasks set status = 'queued', ready = 1, due_at = null, away = max(0.0, away + ?2)
where seq in (select value from json_each(?1))
-- name: woken
select a.task, a.what from awaits a cross join tasks t on t.seq = a.task where a.woken = 1 and t.status = 'running'
-- name: woken_among
select distinct task from awaits where woken = 1 and task in (select value from json_each(?))
-- name: look_again
update awaits set woken = 0 where woken = 1 and task in (select value from json_each(?))
-- name: put_away
-- Who is suspended left its node in peace: crashes before are forgotten.
update tasks set away = away - ?, crashes = 0 where seq = ? and status = 'suspended'
-- name: seconds_away
select coalesce(sum(away), 0.0) from tasks where seq in (select value from json_each(?))
-- name: cancels_asked
select t.seq, t.id, t.status, t.lane, t.batch, t.priority from json_each(?) s cross join tasks t on t.seq = s.value
where t.status <> 'running' and t.finished_no is null
  and exists (select 1 from controls c where c.task = t.seq and c.kind = 'cancel')
-- name: drop_awaits
delete from awaits where task in (select value from json_each(?))
-- name: drop_mail
delete from mail where task in (select value from json_each(?)) returning data
-- name: oldest_letter
select no, at, data, sender from mail where task = ? and name = ? order by no limit 1
-- name: drop_letter
delete from mail where no = ?
-- name: count_mail
select count(*) from (select 1 from mail where task = ? limit ?)
-- name: add_letter
insert into mail (task, name, at, data, sender) values (?, ?, ?, ?, ?) returning no
-- name: status_of
select seq, status from tasks where seq = ?
-- name: awaits_of_task
select t.seq, t.id, t.type, t.tenant, t.status, a.what, a.asked_at, a.until, a.question,
    exists (select 1 from mail m where m.task = a.task and 'event:' || m.name = a.what)
from awaits a cross join tasks t on t.seq = a.task where a.task = ? order by a.what
-- name: approvals
select t.seq, t.id, t.type, t.tenant, t.status, a.what, a.asked_at, a.until, a.question, 0
from awaits a cross join tasks t on t.seq = a.task
where a.question is not null and a.asked_at > ?2 and (?1 is null or t.tenant = ?1)
  and not exists (select 1 from mail m where m.task = a.task and 'event:' || m.name = a.what)
order by a.asked_at, a.task limit ?3
-- name: adopt
insert into children (task, parent, detached) values (?, ?, ?) on conflict do nothing
-- name: adopt_too
insert into joined_children (task, parent, detached)
select task, ?2, ?3 from children where task = ?1 and parent <> ?2 on conflict do nothing
-- name: heirs
-- Of open children of these parents that others wait for: who gets each, those that do not let it go before the others.
select c.task, p.seq, j.detached
from children c cross join tasks t on t.seq = c.task
cross join joined_children j on j.task = c.task cross join tasks p on p.seq = j.parent
where c.parent in (select value from json_each(?)) and c.detached = 0 and t.finished_no is null and p.finished_no is null
order by j.detached desc, p.seq desc
-- name: inherit_child
update children set parent = ?2, detached = ?3 where task = ?1
-- name: forget_joined
delete from joined_children where task in (select value from json_each(?1)) or parent in (select value from json_each(?1))
-- name: children
select t.id, c.detached from children c cross join tasks t on t.seq = c.task where c.parent = ? order by c.task limit ?
-- name: parent
select p.id from children c cross join tasks p on p.seq = c.parent where c.task = ?
-- name: open_children
select t.seq, t.id, t.status, t.lane, t.batch, t.priority from children c cross join tasks t on t.seq = c.task
where c.parent in (select value from json_each(?)) and c.detached = 0 and t.finished_no is null order by t.seq
-- name: forget_children
delete from children where task in (select value from json_each(?1)) or parent in (select value from json_each(?1))

-- ---------------------------------------------------------------- budgets of programs

-- name: open_budget
insert into program_budgets (program, name, "limit", max_tokens, within, spent, uncertain, tokens, uncertain_tokens)
select ?1, ?2, ?3, ?4, (select program from program_budgets where program = ?5), ?6, ?7, ?8, ?9
where ?3 is not null or ?4 is not null or exists (select 1 from program_budgets where program = ?5)
on conflict do nothing
-- name: limit_budget
update program_budgets set "limit" = ?2, max_tokens = ?3 where program = ?1
-- name: held_of_budget
-- `chain`: what is held, once for each program around it.
with recursive chain (cost, tokens, program) as (
    select cost_held, tokens_most, program from reservations where state = 'held' and program is not null
    union all
    select c.cost, c.tokens, b.within from chain c join program_budgets b on b.program = c.program where b.within is not null
)
select coalesce(sum(cost), 0), coalesce(sum(tokens), 0) from chain where program = ?
-- name: program_budgets
-- `depth`: how many of those asked for are inside of it.
with recursive around (program, depth) as (
    select value, 0 from json_each(?)
    union
    select b.within, a.depth + 1 from around a join program_budgets b on b.program = a.program where b.within is not null
)
select b.program, b.name, b."limit", b.max_tokens, b.within, b.spent, b.uncertain, b.tokens, b.uncertain_tokens
from program_budgets b join (select program, max(depth) as depth from around group by program) a on a.program = b.program
order by a.depth desc, b.program
-- name: book_budget
with recursive around (program) as (
    select ?1
    union
    select b.within from around a join program_budgets b on b.program = a.program where b.within is not null
)
update program_budgets
set spent = spent + ?2, uncertain = uncertain + ?3, tokens = tokens + ?4, uncertain_tokens = uncertain_tokens + ?5
where program in (select program from around)
-- name: programs_over
select p.value from json_each(?) p
where not exists (
        select 1 from tasks t indexed by tasks_program_open
        where t.program = p.value and t.program is not null and t.finished_no is null
    )
    and not exists (select 1 from tasks t where t.id = p.value and t.finished_no is null)
-- name: budgets_led_by
select b.program from program_budgets b
where b.program in (select t.id from tasks t where t.seq in (select value from json_each(?)))
-- name: forget_budgets
delete from program_budgets
where program in (select value from json_each(?))
    and not exists (select 1 from tasks t where t.program = program_budgets.program and t.program is not null)
    and not exists (select 1 from tasks t where t.id = program_budgets.program)
-- name: verify_budgets
select printf('the budget of program "%s" has %s pico-dollars booked, less than the %s of its reservations',
    b.program, b.spent + b.uncertain, sum(r.cost))
from program_budgets b join reservations r on r.program = b.program and r.state in ('settled', 'uncertain')
group by b.program having b.spent + b.uncertain < sum(r.cost) limit 20
