"""A conversation whose whole history is a step's result at each turn: the store grows about linearly."""

import random

import pytest

from penstock import TaskFilter

TURNS = 200
WORDS = ["the", "report", "shows", "that", "demand", "for", "turbines", "rose", "while", "steel", "fell"]


def message(dice, length=2_000):
    text = ""
    while len(text) < length:
        text += dice.choice(WORDS) + f" {dice.randrange(1000)} "
    return text[:length]


async def converse(context):
    """Each turn adds two messages, and gives back all of them."""

    async def turn(history, number):
        dice = random.Random(number)
        said = [{"role": role, "content": message(dice)} for role in ("user", "assistant")]
        return [*history, *said]

    history = []
    for number in range(context.data):
        history = await context.step("turn", turn, history, number, key=str(number))
    return len(history)


def bytes_kept(manager):
    """Bytes in use by the file; of them large values."""
    sizes = manager.peek(lambda reader: reader.sizes())
    return sizes["live_bytes"], sizes["content_bytes"]


async def test_a_history_that_is_a_result_at_each_turn(world, capsys):
    world.handle(converse)
    await world.start()
    empty = bytes_kept(world.manager)[0]
    figures = {}
    for turns in (TURNS // 2, TURNS):
        before = bytes_kept(world.manager)
        id = await world.manager.submit("work", turns)
        assert await world.manager.wait(id, timeout=60) == 2 * turns
        after = bytes_kept(world.manager)
        figures[turns] = (after[0] - before[0], after[1] - before[1])
        view = await world.manager.get(id)
        records = await world.manager.read(lambda reader, seq=view.seq: reader.journal(seq))
        assert len(records) == turns
        new, whole = len(records[-1].value), sum(len(one.value) for one in records)
        with capsys.disabled():
            print(
                f"\n{turns} turns of {new / turns:,.0f} new bytes: the file grew by {figures[turns][0]:,}, "
                f"large values by {figures[turns][1]:,} ({figures[turns][1] / new:.1f} of what is new); "
                f"each history whole would be {whole:,}"
            )
        assert records[-1].value.startswith(records[0].value[:-1])
        await world.manager.clean_up(-1)
    assert figures[TURNS][1] < 3 * new, "large values: more than three times what is new"
    assert figures[TURNS][0] < 2.5 * figures[TURNS // 2][0]
    assert figures[TURNS][0] < whole / 20
    assert bytes_kept(world.manager)[1] == 0
    assert empty > 0


async def test_a_conversation_of_model_calls_keeps_replies_not_requests(world):
    """Each request holds the whole history; the journal keeps its hash and the reply."""

    async def talk(context):
        messages = []
        for number in range(40):
            messages.append({"role": "user", "content": message(random.Random(number))})
            reply = await world.openai.chat.completions.create(model="sim", messages=messages)
            messages.append({"role": "assistant", "content": reply.choices[0].message.content})
        return len(messages)

    assert await world.run(talk) == 80
    steps = await world.steps()
    (task,) = await world.manager.read(lambda reader: reader.tasks(TaskFilter()))
    assert task.result == 80
    halves = [sum(len(one.value) for one in half) for half in (steps[:20], steps[20:])]
    assert halves[1] == pytest.approx(halves[0], rel=0.5)
    assert bytes_kept(world.manager)[1] == 0
