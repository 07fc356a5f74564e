"""`penstock schedule`: adding, looking at and steering schedules from outside."""

import json
import time

import pytest


def schedules(probe):
    return probe.store.read(lambda reader: reader.schedules())


def test_add_list_show_pause_resume_remove(probe, penstock):
    code, out, err = penstock(
        "schedule", "add", "report", "weekdays at 8:30", "--type", "LLM_CALL", "--data", '{"prompt": "Hi"}',
        "--zone", "Europe/Berlin", "--jitter", "5min", "--missed", "all", "--priority", "high",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "schedule report fires weekdays at 8:30 (Europe/Berlin), next in" in out
    (kept,) = schedules(probe)
    assert (kept.type, kept.data, kept.zone, kept.missed) == (
        "llm_call",
        '{"prompt":"Hi"}',
        "Europe/Berlin",
        "all",
    )
    assert (kept.jitter_seconds, kept.priority, kept.cron) == (300, 30, "30 8 * * 1-5")
    out = penstock("schedule", "list")[1]
    assert out.splitlines()[0].split() == ["name", "when", "zone", "type", "next", "last", "refused"]
    assert "report  weekdays at 8:30  Europe/Berlin  llm_call" in out
    out = penstock("schedule", "show", "report")[1]
    assert out.count(" 08:30:00 CE") == 5
    told = json.loads(penstock("schedule", "show", "report", "--json")[1])
    assert (len(told["upcoming"]), told["data"], told["fired"]) == (5, {"prompt": "Hi"}, 0)
    assert penstock("schedule", "pause", "report")[1] == "schedule report is paused\n"
    assert "paused" in penstock("schedule", "list")[1]
    assert "next in" in penstock("schedule", "resume", "report")[1]
    assert json.loads(penstock("schedule", "list", "--json")[1])[0]["enabled"] is True
    assert penstock("schedule", "remove", "report")[:2] == (0, "schedule report is removed\n")
    assert penstock("schedule", "remove", "report")[:2] == (1, "there is no schedule report\n")
    assert penstock("schedule", "list")[1] == "no schedule\n"


def test_a_type_of_ones_own_is_checked_when_it_fires(probe, penstock, tmp_path):
    (tmp_path / "data.json").write_text('{"a": 1}')
    out = penstock("schedule", "add", "s", "hourly", "--type", "mine", "--data", "@data.json")[1]
    assert "its data are checked when it fires" in out
    assert schedules(probe)[0].data == '{"a":1}'
    probe.store.run(lambda tx: tx.leave(probe.node))
    out = penstock("schedule", "add", "s", "hourly", "--type", "mine", "--json")[1]
    assert json.loads(out)["dispatched"] is False
    assert schedules(probe)[0].version == 2


def test_adding_again_keeps_its_place(probe, penstock):
    penstock("schedule", "add", "s", "every 15 minutes", "--type", "mine")
    (first,) = schedules(probe)
    assert first.next_at == pytest.approx(time.time() + 900, abs=10)
    penstock("schedule", "add", "s", "every 15 minutes", "--type", "mine")
    assert schedules(probe) == [first]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("s", "daily at nine", "--type", "mine"), "'nine' is no time of the day"),
        (("s", "61 * * * *", "--type", "mine"), "the minute (0-59) is wrong"),
        (("s", "hourly", "--type", "mine", "--zone", "Mars"), "there is no time zone 'Mars'"),
        (("s", "hourly", "--type", "mine", "--missed", "never"), "it can be skip, once, all"),
        (("s", "hourly", "--type", "mine", "--data", "{"), "--data is no JSON"),
        (("s", "hourly", "--type", "mine", "--jitter", "soon"), "--jitter 'soon' is no length of time"),
        (("s", "hourly", "--type", "LLM_CALL", "--data", "{}"), "llm_call"),
        (("s", "hourly", "--type", "mine", "--priority", "101"), "out of range"),
    ],
)
def test_what_is_wrong_is_one_line(probe, penstock, arguments, words):
    code, _, err = penstock("schedule", "add", *arguments)
    assert code == 2
    assert words in err
    assert schedules(probe) == []


def test_a_name_that_there_is_not(probe, penstock):
    penstock("schedule", "add", "s", "hourly", "--type", "mine")
    for command in ("show", "pause", "resume"):
        code, _, err = penstock("schedule", command, "t")
        assert (code, err) == (2, "penstock: there is no schedule 't'; there are: s\n")
