-- Parents of a child beside the one in `children`: a task that was there already when they wanted one of its key. They keep
-- it, and the first of them gets it when the other parent fails or is cancelled; `detached` as there. There are few: who
-- looks for those of a parent looks at all.
create table joined_children (
    task integer not null,
    parent integer not null,
    detached integer not null,
    primary key (task, parent)
) without rowid;
