"""The loop of an agent: ask, call tools side by side, tell the model, until it answers or a limit ends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from penstock.llm.wire import Family
from penstock.task_types.agent_limits import Purse, Stop, pico_limit, price_of
from penstock.task_types.base import Toolbox
from penstock.task_types.chat import Answer, Message, chat_body, read_answer
from penstock.task_types.conversation import BadAnswer, Talk, listen, no_use, patient
from penstock.task_types.structured import REPAIRS, instructions, schema_form, talk_in
from penstock.task_types.tool_calls import ToolCall, read_calls, spoken
from penstock.task_types.tools import Outcome, Tool, as_model_sees, as_text, described, use_tool

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext

TRANSFER = "transfer_to_"
MOST_CALLS = 64
"""Calls that are made in one turn; a model gone wild may write a thousand."""
LONGEST_TOOL_TEXT = 100_000
_NOTHING_SAID = "You said nothing. Give your answer, or call a tool."
_HAND_OFF = {
    "type": "object",
    "properties": {"note": {"type": "string", "description": "what the other should know or do"}},
}


@dataclass(frozen=True)
class Assignment:
    """What an agent has to do, with what, and how far it may go; see `AgentData`."""

    agent: str
    model: str
    instructions: str | None
    messages: list[Message]
    tools: Mapping[str, Tool]
    hand_off: Mapping[str, str]
    max_turns: int
    max_tokens: int | None
    max_cost: float | None
    max_output_tokens: int | None
    max_errors: int
    output_schema: Mapping[str, Any] | None
    temperature: float | None
    request: Mapping[str, Any]

    def body(self, messages: list[Message], cap: int | None = None) -> dict[str, Any]:
        """The request that goes on with this conversation."""
        more: dict[str, Any] = dict(self.request)
        if self.offered:
            more["tools"] = self.offered
        return chat_body(
            self.model,
            [*self._head(), *messages],
            temperature=self.temperature,
            max_tokens=cap,
            **more,
        )

    def talk(self) -> Talk[dict[str, Any]] | None:
        """How the last answer is read and repaired, where it is to fit a schema."""
        if self.output_schema is None:
            return None
        return talk_in(schema_form("final", self.output_schema), {})

    def _head(self) -> list[Message]:
        told = [self.instructions] if self.instructions else []
        if self.output_schema is not None:
            told.append("When you are done: " + instructions(schema_form("final", self.output_schema)))
        return [{"role": "system", "content": "\n\n".join(told)}] if told else []

    @cached_property
    def offered(self) -> list[dict[str, Any]]:
        """The tools as the model sees them."""
        return [*map(as_model_sees, self.tools.values()), *self._transfers()]

    def _transfers(self) -> list[dict[str, Any]]:
        return [
            described(TRANSFER + name, f"Pass the conversation on to {name}. {what}".strip(), _HAND_OFF)
            for name, what in self.hand_off.items()
        ]


class AgentRun:
    """One run. Everything that happens in it follows from recorded steps, so that a replay takes its way."""

    def __init__(self, context: TaskContext, toolbox: Toolbox, work: Assignment) -> None:
        self._context = context
        self._client = toolbox.client()
        self._post = patient(context, self._client.post)
        self._work = work
        self._talk = work.talk()
        self._purse = Purse(work.max_tokens, pico_limit(work.max_cost), work.max_output_tokens)
        self._messages = list(work.messages)
        self._turns = 0
        self._failures = 0
        self._repairs = 0
        self._text: str | None = None

    async def run(self) -> dict[str, Any]:
        """How it ended; see `agent.run`."""
        if self._work.max_cost is not None:
            self._purse.price = await price_of(self._context, self._client, self._work.model)
        while (stop := self._limit_before_call()) is None:
            answer = await self._ask()
            calls = read_calls(answer, self._turns)
            self._messages.append(spoken(answer, calls))
            if not calls:
                if (end := self._ended(answer)) is not None:
                    return end
            elif (stop := self._limit_before_tools()) is not None:
                self._messages.pop()  # calls without answers are nothing to go on from
                break
            elif (heir := await self._use_tools(calls)) is not None:
                return self._result(handed_to=heir)
        return self._result(stopped=stop)

    # Limits

    def _limit_before_call(self) -> Stop | None:
        if self._turns >= self._work.max_turns:
            return "turns"
        if self._failures >= self._work.max_errors:
            return "errors"
        return self._purse.forbids(self._work.body(self._messages))

    def _limit_before_tools(self) -> Stop | None:
        """What nobody could be told any more need not be done."""
        return "turns" if self._turns >= self._work.max_turns else self._purse.spent()

    # One turn

    async def _ask(self) -> Answer:
        """What the model says next."""
        body = self._work.body(self._messages, self._purse.cap)
        self._turns += 1
        self._context.progress(self._turns, self._work.max_turns, "asks the model")
        reply = await listen(self._context, self._post, body, self._judge)
        answer = read_answer(Family.CHAT, reply.body)
        said = "".join([answer.text or "", *(str(call) for call in answer.tool_calls)])
        self._purse.book(body, reply.body, said)
        self._text = answer.text or self._text
        return answer

    def _judge(self, answer: Answer) -> None:
        """Keep the last of the answers that do not fit the schema from becoming a truth for ever."""
        if self._talk is None or answer.tool_calls or not answer.text or self._repairs < REPAIRS:
            return
        if answer.finish_reason == "length":
            return
        try:
            self._talk.read(answer)
        except BadAnswer as bad:
            raise no_use("final answer", 1 + REPAIRS, bad) from None

    def _ended(self, answer: Answer) -> dict[str, Any] | None:
        """The result of an answer without calls; `None` when the model has to say more."""
        if answer.finish_reason == "length":
            return self._result(stopped="tokens")
        if not answer.text:
            self._messages[-1] = {"role": "assistant", "content": "(nothing)"}
            self._messages.append({"role": "user", "content": _NOTHING_SAID})
            self._failures += 1
            return None
        if self._talk is None:
            return self._result()
        try:
            return self._result(output=self._talk.read(answer))
        except BadAnswer as bad:
            self._repairs += 1
            self._messages[-1:] = self._talk.repair(answer, bad)
            return None

    async def _use_tools(self, calls: list[ToolCall]) -> str | None:
        """Make the calls side by side and tell the model; the agent that is to go on, if any."""
        names = ", ".join(dict.fromkeys(call.name for call in calls))
        self._context.progress(self._turns, self._work.max_turns, f"calls {names}"[:200])
        heir = next((heir for call in calls if (heir := self._heir(call)) is not None), None)
        outcomes = await self._context.gather(
            *(self._outcome(call, place, heir) for place, call in enumerate(calls))
        )
        for call, outcome in zip(calls, outcomes, strict=True):
            told = as_text(outcome, LONGEST_TOOL_TEXT)
            self._messages.append({"role": "tool", "tool_call_id": call.id, "content": told})
        self._failures = self._failures + 1 if all("error" in one for one in outcomes) else 0
        return heir

    async def _outcome(self, call: ToolCall, place: int, heir: str | None) -> Outcome:
        if place >= MOST_CALLS:
            return {"error": f"at most {MOST_CALLS} calls at once; this one was not made"}
        if call.problem is not None:
            return {"error": call.problem}
        if (wanted := self._heir(call)) is not None:
            if wanted == heir:
                return {"result": f"{heir} goes on."}
            return {"error": f"the conversation went to {heir}"}
        tool = self._work.tools.get(call.name)
        if tool is None:
            known = ", ".join([*self._work.tools, *(TRANSFER + name for name in self._work.hand_off)])
            return {"error": f"there is no tool {call.name!r}; there are: {known or 'none'}"}
        return await use_tool(self._context, tool, call.arguments, f"{call.name} {self._turns}.{place}")

    def _heir(self, call: ToolCall) -> str | None:
        name = call.name.removeprefix(TRANSFER)
        return name if call.name.startswith(TRANSFER) and name in self._work.hand_off else None

    def _result(
        self, output: dict[str, Any] | None = None, stopped: Stop | None = None, handed_to: str | None = None
    ) -> dict[str, Any]:
        return {
            "agent": self._work.agent or None,
            "text": self._text,
            "output": output,
            "stopped": stopped,
            "handed_to": handed_to,
            "turns": self._turns,
            **self._purse.told(),
            "messages": self._messages,
        }
