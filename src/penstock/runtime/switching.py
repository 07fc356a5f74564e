"""Switches the strategy while the system runs: what is open at once, what waits in resumable chunks, best
first."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from penstock.policies import policy_named
from penstock.runtime.admitter import Admitter
from penstock.runtime.dispatcher import Dispatcher
from penstock.runtime.services import Services
from penstock.stores.contract import Transaction

log = logging.getLogger("penstock.dispatch")

# One transaction each: no other commit waits longer than a chunk takes.
CHUNK = 1_500
BEST_FIRST = 4_000


class Switcher:
    """Puts a policy in force and ranks anew what waits. A switch that was cut off goes on at the next start,
    because the store says by what its tasks were ranked last."""

    def __init__(self, services: Services, admitter: Admitter, dispatcher: Dispatcher) -> None:
        self._services = services
        self._admitter = admitter
        self._dispatcher = dispatcher
        self._turn = 0
        self.reranked = 0

    async def switch(self, name: str, settings: dict[str, Any]) -> int:
        """Use another strategy; how many waiting tasks were ranked anew. Raises `ConfigurationError` for a
        name or a setting that there is not; nothing has changed then."""
        self._services.ranker.use(policy_named(name, **settings))
        wanted = json.dumps([name, settings], sort_keys=True)
        await self._services.committer.run(lambda store: store.set_setting("strategy_chosen", wanted))
        self._rerank_open()
        return await self._rerank_waiting(name, wanted)

    async def resume(self, name: str, settings: dict[str, Any]) -> None:
        """Rank anew at a start what was ranked by another strategy, or not to the end."""
        wanted = json.dumps([name, settings], sort_keys=True)
        before = await self._services.committer.run(lambda store: store.setting("ranked_by"))
        if before is None:
            await self._services.committer.run(lambda store: store.set_setting("ranked_by", wanted))
        elif before != wanted:
            await self._rerank_waiting(name, wanted)

    def _rerank_open(self) -> None:
        ranker, now = self._services.ranker, self._services.clock.wall()
        for running in self._dispatcher.open.values():
            standing = running.context.footing.standing
            running.task.rank = ranker.policy.rank(standing, now)
            running.task.flow = ranker.policy.flow(standing)
        self._admitter.rearrange(
            lambda seq, step: (
                None
                if (running := self._dispatcher.open.get(seq)) is None
                else running.context.footing.caller(step)
            )
        )

    async def _rerank_waiting(self, name: str, wanted: str) -> int:
        self._turn += 1
        turn, count = self._turn, 0
        committer, ranker, clock = self._services.committer, self._services.ranker, self._services.clock
        await committer.run(lambda store: store.set_setting("ranked_by", None))
        seqs = await committer.read(lambda reader: reader.waiting_seqs())
        # The next to go best first; the others as they lie in the file, which is twice as quick.
        seqs[BEST_FIRST:] = sorted(seqs[BEST_FIRST:])
        for begin in range(0, len(seqs), CHUNK):
            if turn != self._turn:
                return count  # another switch overtook this one
            chunk = seqs[begin : begin + CHUNK]

            def rerank(store: Transaction, chunk: list[int] = chunk) -> int:
                now = clock.wall()
                ranks = [ranker.again(task, now) for task in store.waiting(chunk)]
                store.rerank(ranks)
                return len(ranks)

            count += await committer.run(rerank)
            self.reranked += len(chunk)
            await asyncio.sleep(0)

        def done(store: Transaction) -> None:
            store.set_setting("ranked_by", wanted)
            store.set_setting("strategy", name)

        await committer.run(done)
        if ranker.has_flows:
            flows = await committer.read(lambda reader: reader.waiting_flows())
            self._services.shares.replace(flows, clock.wall())
        self._dispatcher.notice_all()
        log.info("strategy %s is in force; %d waiting tasks were ranked anew", name, count)
        return count
