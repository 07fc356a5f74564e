"""Which strategy a store was told to use, and ranking anew what waits in it, in chunks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from penstock.errors import ConfigurationError
from penstock.model.rank import Policy
from penstock.policies import policy_named
from penstock.runtime.ranking import Ranker
from penstock.runtime.settings import Settings
from penstock.stores.contract import Reader, Store, Transaction

DEFAULT_STRATEGY = "priority"

# Settings of the store. What was told last; what another process asks the dispatching one for, and why that
# one refused; what the ranks of all waiting tasks were made by (empty while they are being made).
CHOSEN = "strategy_chosen"
ASKED = "strategy_asked"
REFUSED = "strategy_refused"
RANKED_BY = "ranked_by"
IN_FORCE = "strategy"

# One transaction each: no other commit waits longer than a chunk takes.
CHUNK = 1_500
BEST_FIRST = 4_000


class Told(NamedTuple):
    """A strategy as somebody named it."""

    name: str
    settings: Mapping[str, Any]

    @property
    def text(self) -> str:
        """How a store keeps it."""
        return json.dumps([self.name, dict(self.settings)], sort_keys=True, default=repr)

    @property
    def words(self) -> str:
        """How people read it: fair (inside=fifo)."""
        given = ", ".join(
            f"{name}={value if isinstance(value, str) else json.dumps(value, default=repr)}"
            for name, value in self.settings.items()
        )
        return f"{self.name} ({given})" if given else self.name

    def policy(self) -> Policy:
        """The strategy itself; raises `ConfigurationError` for a name or setting that there is not."""
        return policy_named(self.name, **self.settings)


def read_told(text: str | None) -> Told | None:
    """What `Told.text` wrote; `None` for nothing."""
    if not text:
        return None
    name, settings = json.loads(text)
    return Told(name, settings)


def told_last(reader: Reader) -> Told:
    """The strategy that this store was told to use last, by whoever."""
    return read_told(reader.setting(CHOSEN)) or Told(DEFAULT_STRATEGY, {})


def wanted_strategy(settings: Settings, reader: Reader | None) -> Told:
    """The strategy that the settings name, else the one the store was told last."""
    if settings.strategy is not None:
        return Told(settings.strategy, settings.strategy_settings)
    if settings.strategy_settings:
        raise ConfigurationError("strategy_settings go with the name of a strategy; give `strategy` too")
    return Told(DEFAULT_STRATEGY, {}) if reader is None else told_last(reader)


def policy_for(store: Store | None, settings: Settings) -> Policy:
    """The policy that tasks of this store are to be ranked by. Raises `ConfigurationError`."""
    if store is None:
        return wanted_strategy(settings, None).policy()
    told = store.read(lambda reader: wanted_strategy(settings, reader))
    try:
        return told.policy()
    except ConfigurationError as error:
        if settings.strategy is not None:
            raise
        raise ConfigurationError(
            f"this store was told to use strategy {told.words}, which cannot be made here: {error}"
        ) from error


def chunks(seqs: Sequence[int]) -> Iterator[list[int]]:
    """What one transaction ranks anew, each time, of tasks that are given best first."""
    # The next to go best first; the others as they lie in the file, which is twice as quick.
    ordered = [*seqs[:BEST_FIRST], *sorted(seqs[BEST_FIRST:])]
    for begin in range(0, len(ordered), CHUNK):
        yield ordered[begin : begin + CHUNK]


def rerank(store: Transaction, ranker: Ranker, seqs: Sequence[int], now: float) -> int:
    """Rank those of these tasks anew that still wait; how many."""
    tasks = store.waiting(seqs)
    ranker.learn_programs(store, tasks)
    ranks = [ranker.again(task, now) for task in tasks]
    store.rerank(ranks)
    return len(ranks)


def begin_reranking(store: Transaction, told: Told) -> None:
    """From now on the ranks are mixed; a node that starts before `end_reranking` makes them anew."""
    store.set_setting(CHOSEN, told.text)
    store.set_setting(RANKED_BY, "")


def end_reranking(store: Transaction, told: Told) -> None:
    """All that waits is ranked by this strategy."""
    store.set_setting(RANKED_BY, told.text)
    store.set_setting(IN_FORCE, told.name)


def rerank_store(store: Store, told: Told, now: float) -> int:
    """Switch a store that nobody dispatches; how many waiting tasks were ranked anew."""
    ranker, count = Ranker(told.policy()), 0
    store.run(lambda tx: begin_reranking(tx, told))
    for chunk in chunks(store.read(lambda reader: reader.waiting_seqs())):
        count += store.run(lambda tx, seqs=chunk: rerank(tx, ranker, seqs, now))  # type: ignore[misc]
    store.run(lambda tx: end_reranking(tx, told))
    return count
