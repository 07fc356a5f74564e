"""`penstock fork`: a copy of a task that goes on from before one of its steps, numbered by `show`."""

import json
import time

from penstock.model.lane import Lane
from penstock.model.states import TaskStatus
from penstock.model.task_type import TaskType
from penstock.testing.store_probe import step_of

LLM = Lane(TaskType.LLM_CALL.value, "small-model", (("gpu", 1),))


def begun(probe, lane, *names):
    task = probe.running(now=time.time(), lane=lane, payload='{"a":1}', priority=40)
    for number, name in enumerate(names):
        probe.record(step_of(task, name, occurrence=names[:number].count(name)))
    return task


def test_a_fork_by_the_number_that_show_gives(probe, penstock):
    old = begun(probe, Lane("report"), "plan", "page", "page", "write")
    shown = penstock("show", old.id)[1]
    rows = [line.split()[:2] for line in shown.splitlines() if line.strip()[:2] in ("1 ", "2 ", "3 ", "4 ")]
    assert rows == [["1", "plan"], ["2", "page"], ["3", "page"], ["4", "write"]]
    assert [step["number"] for step in json.loads(penstock("show", "--json", old.id)[1])["steps"]] == [
        1,
        2,
        3,
        4,
    ]
    data = json.loads(penstock("fork", old.id, "--step", "3", "--data", '{"a":2}', "--json")[1])
    new = probe.view(data["forked_as"])
    assert data["id"] == old.id
    assert (new.status, new.payload, new.priority, new.retry_of) == (TaskStatus.QUEUED, {"a": 2}, 40, old.id)
    assert [step["name"] for step in new.steps] == ["plan", "page"]
    assert probe.kinds(new.seq) == ["submitted", "forked"]
    assert probe.view(old.id).status is TaskStatus.RUNNING
    code, out, _ = penstock("fork", old.id[:30], "--step", "write")
    assert (code, out.startswith(f"{old.id} is forked as ")) == (0, True)
    assert probe.store.verify() == []


def test_a_step_that_is_not_there_or_not_the_only_one(probe, penstock):
    old = begun(probe, Lane("report"), "plan", "page", "page")
    code, _, err = penstock("fork", old.id, "--step", "send")
    assert code == 2
    assert "has no step 'send'; its steps: 1 plan, 2 page, 3 page" in err
    code, _, err = penstock("fork", old.id, "--step", "4")
    assert (code, "has no step 4; its steps:" in err) == (2, True)
    code, _, err = penstock("fork", old.id, "--step", "page")
    assert (code, "give the number of one: 2 page, 3 page" in err) == (2, True)
    code, _, err = penstock("fork", old.id, "--step", "1", "--data", "{")
    assert (code, "--data is no JSON" in err) == (2, True)
    assert probe.counts() == {TaskStatus.RUNNING: 1}


def test_data_of_built_in_types_are_checked(probe, penstock):
    old = begun(probe, LLM, "plan")
    code, _, err = penstock("fork", old.id, "--step", "1", "--data", '{"prompt": 7}')
    assert (code, "prompt" in err) == (2, True)
    data = json.loads(penstock("fork", old.id, "--step", "1", "--data", '{"prompt": "Hi"}', "--json")[1])
    assert probe.view(data["forked_as"]).payload["prompt"] == "Hi"
