-- The tasks of a workflow are the members of a group, which its leading task (`id`: its seq) waits for. What only some
-- tasks have lies beside the tasks. Rows of a group go with its leading task, a member's with the member.

-- `stopped_by`: the member whose failure stopped the group. `places`: how many members may be on their way at a time
-- (null: any number), of which `taken` are. `closed`: its leading task has ended, or lets nobody join any more.
create table groups (
    id integer primary key,
    total integer not null default 0,
    open integer not null default 0,
    completed integer not null default 0,
    failed integer not null default 0,
    cancelled integer not null default 0,
    stopped_by integer,
    places integer,
    taken integer not null default 0,
    closed integer not null default 0,
    stops integer not null default 1
);

-- `node`: its name in the workflow. `stops`: its failure stops the group (of a group: unless a member says otherwise).
-- `undo`: what undoes it when the whole fails later.
create table members (
    task integer primary key,
    grp integer not null,
    node text not null,
    stops integer not null,
    undo text
);
create unique index members_of_group on members (grp, node);

-- Members of groups with places that have not ended: `state` 0 waits for other tasks, 1 for a place, 2 has one. The
-- lowest (turn, task) is next. Until it has a place it counts as one more that a blocked task waits for.
create table places (
    task integer primary key,
    grp integer not null,
    turn integer not null,
    state integer not null
);
create index places_next on places (grp, turn, task) where state = 1;

-- How many members of groups and leading tasks have not ended, and how many members need places: 0 spares a look.
insert into counters values ('members', 0), ('groups', 0), ('places', 0);
