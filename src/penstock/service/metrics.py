"""Prometheus metrics: read from the store and the running node at each scrape, so that sums survive a
restart.

Labels are bounded: of models, tenants, types and limits those that come first keep a series of their own, the
rest is added up as "other".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

import penstock
from penstock.model.states import WAITING, TaskStatus
from penstock.model.usage import PICO
from penstock.runtime.call_reports import CallReport
from penstock.service.request_counts import OTHER, Spread
from penstock.stores.contract import Reader, SpendSum, Tally

if TYPE_CHECKING:
    from penstock.service.service import Service

MOST_LABELS = 100
MOST_SERIES = 500
MOST_APPROVALS = 10_000
MONEY = "budget"
FINAL = (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED)


class Labels:
    """Values that have a series of their own: the first so many that were seen, for as long as we run."""

    def __init__(self, most: int = MOST_LABELS) -> None:
        self._most = most
        self._known: set[Any] = set()

    def of(self, value: Any, other: Any = OTHER) -> Any:
        """The value itself, or what stands for the many."""
        if value not in self._known:
            if len(self._known) >= self._most:
                return other
            self._known.add(value)
        return value


class Metrics:
    """Everything that is told of one service; a collector as Prometheus's library takes it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._models, self._types = Labels(), Labels()
        self._pairs, self._limits = Labels(MOST_SERIES), Labels(MOST_SERIES)
        self._steps: defaultdict[str, Spread] = defaultdict(Spread)
        self._waited: defaultdict[str, Spread] = defaultdict(Spread)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self._read: tuple[list[Tally], dict[str, float], list[SpendSum], float | None, int] | None = None

    def open(self) -> None:
        """The engine runs: hear of its calls."""
        self._service.engine.node.admitter.on_call.append(self.called)

    def called(self, report: CallReport) -> None:
        """A call is over."""
        if report.left:
            model = self._models.of(report.ask.model or "none")
            self._steps[model].add(report.seconds)
            self._waited[model].add(max(0.0, report.origin.admitted_at - report.origin.asked_at))

    async def text(self) -> bytes:
        """All metrics in Prometheus's text format. Raises `StoreError`."""

        def read(reader: Reader) -> Any:
            return (
                reader.tallies(),
                reader.totals(),
                reader.spend_sums(),
                reader.longest_waiting(),
                len(reader.approvals(limit=MOST_APPROVALS)),
            )

        self._read = await self._service.engine.read(read)
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """As of the last reading."""
        if self._read is None:
            return
        tallies, totals, spend, since, asked = self._read
        yield InfoMetricFamily("penstock", "The version that runs.", {"version": penstock.__version__})
        yield from self._tasks(tallies, totals, since)
        yield _gauge("penstock_approvals_open", "Questions of tasks that nobody has answered yet.", asked)
        yield from self._money(spend)
        yield from self._gate()
        yield from self._node()
        yield from self._requests()

    def _tasks(
        self, tallies: Iterable[Tally], totals: dict[str, float], since: float | None
    ) -> Iterator[Metric]:
        counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        for one in tallies:
            counts[str(one.status), self._types.of(one.type)] += one.count
        tasks = GaugeMetricFamily(
            "penstock_tasks", "Tasks in the store by status and type.", labels=["status", "type"]
        )
        for labels, count in sorted(counts.items()):
            tasks.add_metric(labels, count)
        yield tasks
        engine = self._service.engine
        waiting = sum(count for (status, _), count in counts.items() if status in WAITING)
        yield _gauge("penstock_queue_size", "Tasks that wait.", waiting)
        capacity = engine.settings.max_queue_size
        if capacity is not None:
            yield _gauge("penstock_queue_capacity", "Tasks that may be in the store unfinished.", capacity)
        oldest = 0.0 if since is None else max(0.0, engine.clock.wall() - since)
        yield _gauge(
            "penstock_oldest_wait_seconds", "How long the claimable task waits that waits longest.", oldest
        )
        ended = CounterMetricFamily(
            "penstock_tasks_ended", "Tasks that came to their end, by status.", labels=["status"]
        )
        for status in FINAL:
            ended.add_metric([str(status)], totals.get(str(status), 0.0))
        yield ended
        for name, what in (("queue_seconds", "wait"), ("run_seconds", "run")):
            yield _counter(
                f"penstock_tasks_{what}_seconds",
                f"Sum of the {what} times of ended tasks.",
                totals.get(name, 0),
            )

    def _money(self, spend: Iterable[SpendSum]) -> Iterator[Metric]:
        sums: defaultdict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0] * 5)
        for one in spend:
            pair = self._pairs.of((one.tenant, one.model), (OTHER, OTHER))
            amounts = (one.cost / PICO, one.uncertain / PICO, one.calls, one.input_tokens, one.output_tokens)
            sums[pair] = [have + more for have, more in zip(sums[pair], amounts, strict=True)]
        labels = ["tenant", "model"]
        cost = CounterMetricFamily("penstock_cost_usd", "Money spent, US dollars.", labels=labels)
        uncertain = GaugeMetricFamily(
            "penstock_uncertain_usd", "Money booked for calls whose bill nobody knows.", labels=labels
        )
        calls = CounterMetricFamily("penstock_calls", "Model calls that were booked.", labels=labels)
        tokens = CounterMetricFamily("penstock_tokens", "Tokens used.", labels=[*labels, "kind"])
        for pair, (spent, unsure, count, read, written) in sorted(sums.items()):
            cost.add_metric(pair, spent)
            uncertain.add_metric(pair, unsure)
            calls.add_metric(pair, count)
            tokens.add_metric([*pair, "input"], read)
            tokens.add_metric([*pair, "output"], written)
        yield from (cost, uncertain, calls, tokens)

    def _gate(self) -> Iterator[Metric]:
        engine = self._service.engine
        gate, now = engine.node.gate, engine.clock.monotonic()
        families = [
            GaugeMetricFamily(f"penstock_limit_{name}", what, labels=["limit"])
            for name, what in (("used", "Used of a rate limit."), ("held", "Held of a rate limit for calls "
                               "in flight."), ("limit", "The limit itself."))
        ]  # fmt: skip
        money = [
            GaugeMetricFamily(f"penstock_{MONEY}_{name}", what, labels=["budget"])
            for name, what in (("spent_usd", "Spent of a budget, uncertain money included."),
                               ("limit_usd", "The budget itself."),
                               ("used_ratio", "Spent and held money as a share of the budget."))
        ]  # fmt: skip
        for use in gate.usage(now):
            if self._limits.of(use.key, None) is not None:
                for family, value in zip(families, (use.used, use.held, use.limit), strict=True):
                    family.add_metric([use.key], value)
        for one in gate.money(now):
            if self._limits.of(one.key, None) is not None:
                spent = one.spent + one.uncertain
                ratio = (spent + one.held) / one.limit if one.limit else 1.0
                for family, amount in zip(money, (spent / PICO, one.limit / PICO, ratio), strict=True):
                    family.add_metric([one.key], amount)
        yield from (*families, *money)
        reasons: defaultdict[str, int] = defaultdict(int)
        for _, wait in engine.node.admitter.waits():
            reasons[wait.reason] += 1
        waits = GaugeMetricFamily(
            "penstock_waiting_calls", "Calls that wait at the gate, by what they wait for.", labels=["reason"]
        )
        for reason, number in sorted(reasons.items()):
            waits.add_metric([reason], number)
        yield waits

    def _node(self) -> Iterator[Metric]:
        node = self._service.engine.node
        exchange, slots = node.services.exchange, node.services.slots
        yield _counter("penstock_calls_refused", "Calls that a provider refused.", exchange.refused)
        yield _counter("penstock_journal_replays", "Calls answered by the journal.", exchange.replayed)
        yield _counter("penstock_event_loop_blocks", "Times the event loop was blocked.", node.blocked.count)
        yield _counter(
            "penstock_put_backs", "Tasks put back for better ones.", node.dispatcher.put_backs.count
        )
        yield _gauge("penstock_slots_taken", "Handlers that run and calls in flight.", slots.busy)
        yield _gauge("penstock_slots", "Slots there are.", slots.limit)
        yield _gauge("penstock_open_tasks", "Tasks with a coroutine in memory.", len(node.dispatcher.open))
        yield _gauge("penstock_paused", "1 while nothing is started.", float(node.dispatcher.paused))
        up = node.failure is None
        yield _gauge("penstock_store_writable", "0 after the store failed: nothing is started.", float(up))
        yield _histogram("penstock_step_seconds", "How long calls took, by model.", "model", self._steps)
        yield _histogram("penstock_wait_seconds", "How long calls waited at the gate.", "model", self._waited)

    def _requests(self) -> Iterator[Metric]:
        requests = self._service.requests
        yield _gauge("penstock_http_requests_open", "Requests that are being answered.", requests.open)
        yield _gauge(
            "penstock_http_wrong_keys",
            "Addresses that tried wrong keys lately.",
            len(self._service.keys.tries),
        )
        answered = CounterMetricFamily(
            "penstock_http_requests", "Requests answered.", labels=["route", "method", "status"]
        )
        for labels, count in sorted(requests.statuses.items()):
            answered.add_metric(labels, count)
        yield answered
        yield _histogram("penstock_http_seconds", "How long answers took.", "route", requests.seconds)


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(name, what, value=value)


def _counter(name: str, what: str, value: float) -> Metric:
    return CounterMetricFamily(name, what, value=value)


def _histogram(name: str, what: str, label: str, spreads: dict[str, Spread]) -> Metric:
    family = HistogramMetricFamily(name, what, labels=[label])
    for value, spread in sorted(spreads.items()):
        family.add_metric([value], spread.buckets(), spread.sum)
    return family
