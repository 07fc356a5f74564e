"""OpenTelemetry spans of tasks and their calls, after the semantic conventions for generative AI.

A task is one trace, whose id follows from the task's: what happens in several processes, or after a crash,
comes together without anything being stored. Its spans are `submit` (linked to the span that was current
there), and of each call `wait` (at the gate), the call itself (`chat gpt-4o-mini`, kind client) and `settle`
(until its booking is durable). Without the library nothing is recorded and nothing is paid for.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from penstock.model.reservation import ReservationState
from penstock.model.task import Added, NewTask
from penstock.runtime.call_reports import CallReport
from penstock.stores.contract import AddOutcome

if TYPE_CHECKING:
    from penstock.manager.engine import Manager

log = logging.getLogger("penstock.tracing")

OPERATIONS = {
    "chat": "chat",
    "responses": "chat",
    "messages": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
}
PROVIDERS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api.mistral.ai": "mistral_ai",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.x.ai": "x_ai",
    "api.perplexity.ai": "perplexity",
    "api.cohere.com": "cohere",
}
TASK_ID, TASK_TYPE, TENANT = "penstock.task.id", "penstock.task.type", "penstock.tenant"


def trace_engine(engine: Manager) -> bool:
    """Record spans of this running engine from now on; False when the library is not there."""
    try:
        from opentelemetry import trace
    except ImportError:
        return False
    tracer = trace.get_tracer("penstock")
    tracing = Tracing(tracer, engine)
    engine.on_added[:] = [one for one in engine.on_added if not isinstance(_owner(one), Tracing)]
    engine.on_added.append(tracing.added)
    engine.node.admitter.on_call.append(tracing.called)
    return True


class Tracing:
    """Turns what happened into spans, after it happened."""

    def __init__(self, tracer: Any, engine: Manager) -> None:
        self._tracer = tracer
        self._clock = engine.clock

    def added(self, tasks: Sequence[NewTask], outcomes: Sequence[AddOutcome]) -> None:
        """Tasks were submitted here, and are durable."""
        from opentelemetry import trace

        if not tasks:
            return
        now = self._clock.wall()
        current = trace.get_current_span().get_span_context()
        links = [trace.Link(current)] if current.is_valid else []
        for task, outcome in zip(tasks, outcomes, strict=False):
            if isinstance(outcome, Added):
                told = {TASK_ID: task.id, TASK_TYPE: task.type, TENANT: task.tenant}
                span = self._tracer.start_span(
                    f"submit {task.type}",
                    context=context_of(task.id),
                    kind=trace.SpanKind.PRODUCER,
                    attributes=told,
                    links=links,
                    start_time=_nano(task.created_at),
                )
                span.end(_nano(max(now, task.created_at)))

    def called(self, report: CallReport) -> None:
        """A call is over and booked."""
        if not report.left:
            return
        origin, ask = report.origin, report.ask
        shift = report.settlement.done_at - report.ended_at
        context = context_of(origin.task_id) if origin.task_id else None
        about = {TENANT: ask.tenant, TASK_TYPE: ask.type, "gen_ai.request.model": ask.model}
        if origin.task_id:
            about[TASK_ID] = origin.task_id
        asked, admitted = origin.asked_at + shift, origin.admitted_at + shift
        self._span("wait", context, asked, admitted, about)
        self._call(report, context, report.settlement.sent_at or admitted, about)
        self._span("settle", context, report.settlement.done_at, report.durable_at + shift, about)

    def _span(self, name: str, context: Any, start: float, end: float, told: dict[str, Any]) -> None:
        span = self._tracer.start_span(name, context=context, attributes=told, start_time=_nano(start))
        span.end(_nano(max(start, end)))

    def _call(self, report: CallReport, context: Any, start: float, about: dict[str, Any]) -> None:
        from opentelemetry.trace import SpanKind, StatusCode

        ask, done = report.ask, report.settlement
        operation = OPERATIONS.get(report.origin.family, "request")
        host, _, port = ask.endpoint.partition("#")[0].partition(":")
        told: dict[str, Any] = {
            **about,
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": PROVIDERS.get(host, "openai"),
            "server.address": host,
            "penstock.cost_usd": done.cost / 1e12,
        }
        if port.isdecimal():
            told["server.port"] = int(port)
        if done.state is ReservationState.SETTLED:
            told["gen_ai.usage.input_tokens"] = done.input_tokens
            told["gen_ai.usage.output_tokens"] = done.output_tokens
        span = self._tracer.start_span(
            f"{operation} {ask.model}".strip(),
            context=context,
            kind=SpanKind.CLIENT,
            attributes=told,
            start_time=_nano(start),
        )
        if done.state is ReservationState.UNCERTAIN:
            span.set_attribute("error.type", "cut_off")
            span.set_status(StatusCode.ERROR, "the call was cut off; nobody knows what was billed")
        span.end(_nano(max(start, done.done_at)))


def context_of(task_id: str) -> Any:
    """The context that all spans of a task have above them."""
    from opentelemetry import trace

    digest = hashlib.sha256(f"penstock task {task_id}".encode()).digest()
    above = trace.SpanContext(
        int.from_bytes(digest[:16]) or 1,
        int.from_bytes(digest[16:24]) or 1,
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(above))


def _owner(method: Any) -> Any:
    return getattr(method, "__self__", None)


def _nano(at: float) -> int:
    return int(at * 1e9)
