"""`--dry-run`: what a job would take, without a key and without storing anything."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from decimal import Decimal

from penstock.cli.run.feeder import FeedRules
from penstock.cli.run.fingerprint import Chain
from penstock.cli.run.lines import DUPLICATE, BadLine, Request, parse_line, too_long
from penstock.cli.run.options import RunOptions, base_urls
from penstock.cli.run.progress import Progress
from penstock.cli.run.reading import FileSource, Lines, RawLine, Source, StreamSource
from penstock.cli.run.records import usd
from penstock.cli.run.summary import duration
from penstock.llm.wire import read_call
from penstock.model.clock import SystemClock
from penstock.model.usage import to_pico
from penstock.pricing import PriceTable, estimate_cost
from penstock.runtime.settings import Settings
from penstock.runtime.weigher import Weighed, Weigher

CHUNK = 200
SHOWN_BAD_LINES = 10


@dataclass(slots=True)
class ModelPlan:
    """One model's part. Output is bounded by the caps (or 2,048 where there is none); money in pico-dollars,
    `None` when the price is unknown."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    uncapped: int = 0
    cost: int | None = 0
    input_cost: int = 0

    def add(self, weighed: Weighed) -> None:
        self.requests += 1
        self.input_tokens += weighed.prompt
        self.output_tokens += weighed.cap
        self.uncapped += weighed.ask.output_cap is None and weighed.cap > 0
        if weighed.price is None:
            self.cost = None
        if self.cost is not None and weighed.price is not None:
            self.cost += estimate_cost(weighed.price, weighed.prompt, weighed.cap)
            self.input_cost += estimate_cost(weighed.price, weighed.prompt, 0)


@dataclass(slots=True)
class Plan:
    """What a job would take. `seconds` is the least time under the limits, `None` without limits."""

    lines: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    bad_lines: list[str] = field(default_factory=list)
    models: dict[str, ModelPlan] = field(default_factory=dict)
    seconds: float | None = None
    bound_by: str = ""
    budget: Decimal | None = None

    @property
    def requests(self) -> int:
        return sum(one.requests for one in self.models.values())

    def refuse(self, position: int, bad: BadLine) -> None:
        self.bad[bad.code] += 1
        if len(self.bad_lines) < SHOWN_BAD_LINES:
            self.bad_lines.append(f"line {position}: {bad.message}")

    def as_json(self) -> str:
        return json.dumps({"event": "plan", **asdict(self)}, default=str)


def make_plan(options: RunOptions, settings: Settings, progress: Progress) -> Plan:
    """Read the whole input (or the sample) and add up."""
    url = base_urls(options)[0].partition("?")[0]
    weigher = Weigher(PriceTable(settings.prices), SystemClock(), settings.reserve, settings.profile)
    plan, seen = Plan(budget=options.budget), dict[str, int]()
    source: Source = StreamSource() if options.from_stdin else FileSource(options.input_path, 0)
    lines, rules = Lines(source, options.max_line_bytes, Chain()), options.feed_rules
    told = time.monotonic()
    while raw := lines.take(min(CHUNK, (options.sample or 1 << 62) - lines.number)):
        for position, line in enumerate(raw, lines.number - len(raw) + 1):
            if not line.text.strip():
                continue
            plan.lines += 1
            found = _parse(line, position, rules, seen)
            if isinstance(found, BadLine):
                plan.refuse(position, found)
            else:
                shape = read_call("POST", found.url, found.body)
                plan.models.setdefault(shape.model or "", ModelPlan()).add(weigher.weigh(shape, url))
        if time.monotonic() - told > 5:
            told = time.monotonic()
            progress.say(f"{lines.number:,} lines read")
    source.close()
    plan.seconds, plan.bound_by = _time_under_limits(plan, settings)
    return plan


def _parse(line: RawLine, position: int, rules: FeedRules, seen: dict[str, int]) -> Request | BadLine:
    text = line.text.removeprefix(b"\xef\xbb\xbf") if position == 1 else line.text
    if line.too_long:
        return too_long(text, line.size, rules.max_line_bytes)
    found = parse_line(text, rules.lines)
    if isinstance(found, Request) and found.custom_id is not None:
        first = seen.setdefault(found.custom_id, position)
        if first != position:
            message = f"custom_id {found.custom_id!r} was used on line {first} before"
            return BadLine(DUPLICATE, message, "", found.custom_id)
    return found


def _time_under_limits(plan: Plan, settings: Settings) -> tuple[float | None, str]:
    """The least time that the tightest limit allows, and its name; tokens at the caps."""
    slowest: tuple[float | None, str] = (None, "")
    for rate in settings.limits.for_gate(1, "actual").rates:
        parts = [one for name, one in plan.models.items() if rate.model in (None, name)]
        if rate.dimension == "requests":
            amount = sum(one.requests for one in parts)
        else:
            amount = sum(one.input_tokens + one.output_tokens for one in parts)
        seconds = amount / rate.limit * rate.window_seconds
        if slowest[0] is None or seconds > slowest[0]:
            slowest = (seconds, rate.key)
    return slowest


def plan_text(plan: Plan) -> str:
    """The plan for people."""
    rows = [
        f"lines:   {plan.lines:,}, {plan.requests:,} requests, {sum(plan.bad.values()):,} that are no "
        "requests"
    ]
    rows += [f"         {line}" for line in plan.bad_lines]
    if sum(plan.bad.values()) > len(plan.bad_lines):
        rows.append(f"         … and {sum(plan.bad.values()) - len(plan.bad_lines):,} more")
    for name, one in sorted(plan.models.items()):
        rows.append(
            f"{name}: {one.requests:,} requests, about {one.input_tokens:,} tokens in, {_output(one)}"
        )
        rows.append(f"         {_cost(name, one)}")
    if plan.seconds is not None:
        rows.append(
            f"time:    at least {duration(plan.seconds)} under the limit {plan.bound_by} (fewer tokens, less)"
        )
    else:
        rows.append("time:    no limit was given; the provider's headers will tell")
    rows += _budget(plan)
    return "\n".join(rows)


def _output(one: ModelPlan) -> str:
    if not one.output_tokens:
        return "none out"
    uncapped = f" ({one.uncapped:,} without a cap, counted as 2,048 each)" if one.uncapped else ""
    return f"at most {one.output_tokens:,} out{uncapped}"


def _cost(name: str, one: ModelPlan) -> str:
    if one.cost is None:
        return f"price unknown; set it with --price {name}=IN,OUT (US dollars per million tokens)"
    if not one.cost:
        return "free: the endpoint is on this machine or a private network, or the price is zero"
    return f"cost between ${usd(one.input_cost)} (input alone) and ${usd(one.cost)}"


def _budget(plan: Plan) -> list[str]:
    costs = [one.cost for one in plan.models.values()]
    if plan.budget is None or not costs or None in costs:
        return []
    most = sum(cost for cost in costs if cost is not None)
    if most <= to_pico(plan.budget):
        return [f"budget:  ${plan.budget} is enough in any case"]
    share = to_pico(plan.budget) / most
    return [
        f"budget:  ${plan.budget} is enough for about {int(share * plan.requests):,} requests at their caps"
    ]
