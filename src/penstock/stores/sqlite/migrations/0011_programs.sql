-- Those of a program that have not ended: after each of its steps what waits of it is ranked anew, whatever has ended
-- before. `freed_at`: when the last of the tasks that a task waited for had ended.
create index tasks_program_open on tasks (program) where program is not null and finished_no is null;
alter table tasks add column freed_at real;
