"""Which strategy a store was told to use, and ranking anew what waits in it, in chunks."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
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

# One transaction each: no other commit waits longer than a chunk takes. The first is as large as is quick
# anywhere, the others as large as takes `CHUNK_SECONDS` on this machine, as busy as it is.
CHUNK = 1_000
LEAST_CHUNK, MOST_CHUNK = 100, 4_000
CHUNK_SECONDS = 0.03
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


class Chunks:
    """What one transaction after another ranks anew, of tasks that are given best first."""

    def __init__(self, seqs: Sequence[int]) -> None:
        # The next to go best first; the others as they lie in the file, which is twice as quick.
        self._left = [*seqs[:BEST_FIRST], *sorted(seqs[BEST_FIRST:])]
        self._at = 0
        self.size = CHUNK

    def take(self) -> list[int]:
        """The next chunk; empty behind the last."""
        chunk = self._left[self._at : self._at + self.size]
        self._at += len(chunk)
        return chunk

    def took(self, seconds: float) -> None:
        """How long the transaction of a chunk took: the next are as large as fits."""
        fitting = self.size * CHUNK_SECONDS / max(seconds, 1e-3)
        grown = min(fitting, self.size * 1.25, MOST_CHUNK)
        self.size = round(max(grown, self.size / 2, LEAST_CHUNK))


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
    chunks = Chunks(store.read(lambda reader: reader.waiting_seqs()))
    while chunk := chunks.take():
        begun = time.monotonic()
        count += store.run(lambda tx, seqs=chunk: rerank(tx, ranker, seqs, now))  # type: ignore[misc]
        chunks.took(time.monotonic() - begun)
    store.run(lambda tx: end_reranking(tx, told))
    return count
