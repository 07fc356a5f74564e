-- A claimable task lies in one line: that of its lane, or that of its flow in the lane. So a claim over flows changes one
-- index where it changed two. The order ends with `seq`, which every index has at its end anyway.

drop index tasks_line;
drop index tasks_ready_flow;
create index tasks_line on tasks (lane, band, key) where ready = 1 and flow is null;
create index tasks_ready_flow on tasks (lane, flow, band, key) where ready = 1 and flow is not null;
