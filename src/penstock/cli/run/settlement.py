"""What is read of node and store when a job ends, and the outcome made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.cli.run.desk import Desk
from penstock.cli.run.feeder import Feeder
from penstock.cli.run.options import RunOptions
from penstock.cli.run.records import usd
from penstock.cli.run.summary import Outcome, exit_code
from penstock.cli.run.writer import Writer
from penstock.manager import Manager
from penstock.model.states import TaskStatus


@dataclass(frozen=True, slots=True)
class Settlement:
    """Counters of this run and the state of the batch. Without a manager (another process dispatched) no
    calls."""

    counts: dict[TaskStatus, int]
    uncertain: int = 0
    calls: int = 0
    refused: int = 0
    replayed: int = 0
    shared: int = 0
    uses: tuple[Any, ...] = ()
    money: tuple[Any, ...] = ()

    @classmethod
    async def read(cls, desk: Desk, manager: Manager | None, batch: int) -> Settlement:
        """As things stand."""
        counts, spend = await desk.read(lambda reader: (reader.batch_counts(batch), reader.spend()))
        uncertain = sum(row.uncertain for row in spend)
        if manager is None:
            return cls(counts, uncertain)
        node, now = manager.node, manager.clock.monotonic()
        exchange = node.services.exchange
        return cls(
            counts,
            uncertain,
            exchange.calls,
            exchange.refused,
            exchange.replayed,
            exchange.flights.hits,
            tuple(node.gate.usage(now)),
            tuple(node.gate.money(now)),
        )

    def outcome(
        self, options: RunOptions, writer: Writer, feeder: Feeder, stopped: str | None, seconds: float
    ) -> Outcome:
        """The end of the job."""
        batch, books = writer.batch, writer.books
        still_open = sum(count for status, count in self.counts.items() if not status.final)
        errors = {code: count for code, count in books.errors.items() if count}
        return Outcome(
            code=exit_code(stopped is not None, batch.errors_lines, errors),
            lines=batch.results_lines + batch.errors_lines + still_open,
            results=batch.results_lines,
            failed=batch.errors_lines,
            open=still_open,
            errors=errors,
            calls=self.calls,
            refused=self.refused,
            replayed=self.replayed,
            shared=self.shared,
            input_tokens=books.input_tokens,
            output_tokens=books.output_tokens,
            cost_usd=usd(books.cost),
            uncertain_usd=usd(self.uncertain),
            seconds=round(seconds, 3),
            results_path=batch.output_path,
            errors_path=batch.errors_path,
            store=options.store_name,
            limit_use=self._limit_use(writer, seconds),
            money={use.key: (usd(use.spent + use.uncertain), usd(use.limit)) for use in self.money},
            stopped=stopped,
            sample=options.sample is not None and feeder.read_lines >= options.sample,
        )

    def _limit_use(self, writer: Writer, seconds: float) -> dict[str, float]:
        """Percent of what each limit on everything allowed in the windows of this run."""
        tokens = writer.books.input_tokens + writer.books.output_tokens - writer.tokens_before
        shares = {}
        for use in self.uses:
            windows = max(1.0, seconds / use.window_seconds)
            amount = self.calls if use.key.startswith("r") else tokens
            if ":" not in use.key and " " not in use.key:
                shares[use.key] = round(min(100.0, 100.0 * amount / (use.limit * windows)), 1)
        return shares
