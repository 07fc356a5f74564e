"""What a handler asks a person: the question as it is kept, and an answer that must be awaited."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any, NoReturn

from penstock.errors import StepError
from penstock.model.decision import Decision
from penstock.model.json_text import json_text
from penstock.model.step import digest_arguments


def question_text(question: Any, details: Any) -> str:
    """The question with its details, as it is kept; raises `StepError` for what nobody could be shown."""
    if not isinstance(question, str) or not question.strip():
        raise StepError(f"a question is a text that says what to decide, not {question!r:.80}")
    try:
        return json_text({"question": question, "details": details})
    except (TypeError, ValueError) as error:
        raise StepError(f"the details of a question must be JSON: {error}") from None


def default_name(asked: str, scope: str) -> str:
    """A name that differs with the question, its details and the branch: who answers one of several must not
    answer another."""
    return digest_arguments((asked, scope), {})[:8]


class Asking(Coroutine[Any, Any, Decision]):
    """An approval that is to be awaited. Whether it is true before that is an error, for as a coroutine it
    would be: a forgotten `await` must not count as a yes."""

    __slots__ = ("_made",)

    def __init__(self, made: Coroutine[Any, Any, Decision]) -> None:
        self._made = made

    def __bool__(self) -> NoReturn:
        self._made.close()
        raise StepError("nobody was asked yet: write `await` before ctx.approve(...)")

    def __await__(self) -> Generator[Any, Any, Decision]:
        return self._made.__await__()

    def send(self, value: Any) -> Any:
        return self._made.send(value)

    def throw(
        self,
        kind: type[BaseException] | BaseException,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
    ) -> Any:
        if isinstance(kind, BaseException):
            return self._made.throw(kind)
        return self._made.throw(kind, value, traceback)

    def close(self) -> None:
        self._made.close()
