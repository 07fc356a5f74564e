"""How large the demo is, and the provider it runs against."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from penstock.cli.demo.corpus import MODEL
from penstock.simulator import Latency, Limits, Script, SimulatorConfig

INPUT_PRICE, OUTPUT_PRICE = Decimal("0.40"), Decimal("1.60")
"""US dollars per million tokens."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`requests` calls under limits in any `window_seconds`, within `budget` US dollars.

    The process is killed when `crash_share` of them are answered. `latency` is the simulated provider's.
    """

    requests: int
    requests_per_window: int
    tokens_per_window: int
    window_seconds: float
    latency: Latency
    budget: Decimal
    concurrency: int
    crash_share: float = 0.4

    @property
    def input(self) -> str:
        return "requests.jsonl"

    @property
    def results(self) -> str:
        return "results.jsonl"

    @property
    def errors(self) -> str:
        return "results.errors.jsonl"

    @property
    def store(self) -> str:
        return "results.jsonl.penstock.db"

    def provider(self) -> SimulatorConfig:
        """Limits over a sliding window of actual usage; replies take up the text they are to summarise."""
        return SimulatorConfig(
            latency=self.latency,
            limits=Limits(
                requests_per_window=self.requests_per_window,
                tokens_per_window=self.tokens_per_window,
                window_seconds=self.window_seconds,
                kind="sliding",
            ),
            scripts=SUMMARIES,
            models=(MODEL,),
        )

    def command(self, base_url: str) -> list[str]:
        """What follows `penstock` on the command line; the same before and after the crash."""
        window = f"{self.window_seconds:g}s"
        return [
            *("run", self.input, "-o", self.results, "--base-url", base_url),
            *("--limit", f"requests:{self.requests_per_window}/{window}"),
            *("--limit", f"tokens:{self.tokens_per_window}/{window}"),
            *("--price", f"{MODEL}={INPUT_PRICE},{OUTPUT_PRICE}", "--budget", str(self.budget)),
            *("--concurrency", str(self.concurrency)),
        ]


# A line of prose makes the summary; where there is none, the heading has to do.
SUMMARIES = (
    Script(
        r'^(\S+), part "([^"]*)":\s(?s:.{0,900}?)\n([A-Z](?:[^\n|<>]|\n(?=\w)){30,170}?[.!])(?=\s|$)',
        "$1, $2: $3",
    ),
    Script(r'^(\S+), part "([^"]*)":', "$1 explains: $2."),
)

FULL = Plan(
    requests=360,
    requests_per_window=120,
    tokens_per_window=80_000,  # more than that many of the longest requests need: requests are what is scarce
    window_seconds=10.0,
    latency=Latency(a=0.6, b=0.0003, c=0.012),
    budget=Decimal("0.25"),
    concurrency=50,
)
QUICK = Plan(
    requests=300,
    requests_per_window=200,
    tokens_per_window=130_000,
    window_seconds=4.0,
    latency=Latency(a=0.1, b=0.0001, c=0.004),
    budget=Decimal("0.25"),
    concurrency=50,
)
