"""Asks a model until its answer can be used, and shows it what was wrong with the one before.

Every answer but the last is recorded, good or bad, so that a replay comes to the same repair. The last one
is judged before it is recorded: when the task is retried, that round is asked again instead of failing for
ever. Refused, filtered and cut answers are never recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from penstock.errors import CallFailed, ReplyRejected
from penstock.llm.wire import Family
from penstock.runtime.client import ModelReply
from penstock.task_types.chat import CHAT, Answer, Message, read_answer

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext

T = TypeVar("T")
Post = Callable[[str, dict[str, Any]], Awaitable[ModelReply]]
"""Makes a model call; `ModelClient.post` is one."""


class BadAnswer(Exception):
    """An answer that cannot be used as it is; `problems` are shown to the model."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems[:10]


@dataclass(frozen=True, slots=True)
class Talk(Generic[T]):
    """What to ask and how to read it: `read` raises `BadAnswer`, `repair` says what to add to the messages
    then, `rounds` is how often to ask. `what` names the answer in errors."""

    what: str
    body: dict[str, Any]
    read: Callable[[Answer], T]
    repair: Callable[[Answer, BadAnswer], list[Message]]
    rounds: int


async def converse(context: TaskContext, post: Post, talk: Talk[T]) -> T:
    """The first answer that can be used. Raises `CallFailed` when there is none."""
    body = talk.body
    for left in range(talk.rounds - 1, -1, -1):
        answer = await _ask(context, post, body, talk, last=left == 0)
        try:
            return talk.read(answer)
        except BadAnswer as bad:
            body = {**body, "messages": [*body["messages"], *talk.repair(answer, bad)]}
    raise AssertionError("the last answer is judged before it is recorded")


async def _ask(context: TaskContext, post: Post, body: dict[str, Any], talk: Talk[Any], last: bool) -> Answer:
    def judge(answer: Answer) -> None:
        _check_whole(answer, body)
        if last:
            try:
                talk.read(answer)
            except BadAnswer as bad:
                raise no_use(talk.what, talk.rounds, bad) from None

    return read_answer(Family.CHAT, (await listen(context, post, body, judge)).body)


async def listen(
    context: TaskContext, post: Post, body: dict[str, Any], judge: Callable[[Answer], object]
) -> ModelReply:
    """The reply to one chat call; what `judge` raises keeps it from being recorded, as do a refusal to answer
    and a content filter. Raises `CallFailed`."""

    def check(reply: dict[str, Any]) -> None:
        answer = read_answer(Family.CHAT, reply)
        if answer.refusal is not None:
            raise CallFailed(f"the model refused to answer: {answer.refusal[:500]}", reason="model_refused")
        if answer.finish_reason == "content_filter":
            raise CallFailed("the provider's content filter stopped the answer", reason="content_filtered")
        judge(answer)

    try:
        with context.validating(check):
            reply = await post(CHAT, body)
        check(reply.body)  # a reply of the journal was judged by the code of its day
    except ReplyRejected as error:
        if isinstance(error.__cause__, CallFailed):
            raise error.__cause__ from None
        raise
    return reply


def no_use(what: str, rounds: int, bad: BadAnswer) -> CallFailed:
    """What to raise when the last answer was as bad as those before."""
    message = f"the model gave no usable {what} in {rounds} rounds: {bad}"
    return CallFailed(message[:2000], reason="invalid_answer")


def _check_whole(answer: Answer, body: dict[str, Any]) -> None:
    if answer.finish_reason == "length":
        cap = body.get("max_completion_tokens", body.get("max_tokens"))
        limit = "the model's own limit" if cap is None else f"max_tokens={cap}"
        message = f"the answer was cut at {limit}: raise max_tokens, or ask for less"
        raise CallFailed(message, reason="answer_cut")


def patient(context: TaskContext, post: Post) -> Post:
    """`post`, trying again after errors that can pass, as often and as slowly as the task's options say.

    For tasks of many calls, where one that fails must not send the whole task back to the line.
    """
    retry = context.options.retry

    async def post_patiently(path: str, body: dict[str, Any]) -> ModelReply:
        attempt = 1
        while True:
            try:
                return await post(path, body)
            except CallFailed as error:
                if not error.retryable or retry.exhausted(attempt):
                    raise
                delay = retry.delay(attempt, context.services.random.random(), error.retry_after)
            await pause(context, delay)
            attempt += 1

    return post_patiently


async def pause(context: TaskContext, seconds: float) -> None:
    """Wait without a slot; a stop of the node is noticed within a second."""
    async with context.off_slot():
        while seconds > 0:
            context.check_parked()
            await asyncio.sleep(min(seconds, 1.0))
            seconds -= 1.0
