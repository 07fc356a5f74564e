"""Every measurement there is, in the order in which they run."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.cli.bench.adding import ADD_BULK, ADD_ONE
from penstock.cli.bench.claiming import CLAIM
from penstock.cli.bench.draining import DRAIN
from penstock.cli.bench.file_run import FILE
from penstock.cli.bench.flow_claims import FLOWS
from penstock.cli.bench.gateway import GATEWAY
from penstock.cli.bench.idling import IDLE
from penstock.cli.bench.langgraph_kills import LANGGRAPH
from penstock.cli.bench.limit_use import LIMITS
from penstock.cli.bench.measurement import Measurement
from penstock.cli.bench.reranking import RERANK
from penstock.cli.bench.rest import REST
from penstock.cli.bench.sleeping import SLEEPS
from penstock.cli.bench.workflow_run import WORKFLOW
from penstock.errors import ConfigurationError

MEASUREMENTS: dict[str, Measurement] = {
    one.name: one
    for one in (
        ADD_ONE,
        ADD_BULK,
        DRAIN,
        IDLE,
        SLEEPS,
        CLAIM,
        FLOWS,
        RERANK,
        FILE,
        GATEWAY,
        REST,
        WORKFLOW,
        LIMITS,
        LANGGRAPH,
    )
}


def chosen(names: Sequence[str]) -> list[Measurement]:
    """Those of these names, in their own order; without names all but the long ones.

    Raises `ConfigurationError` for a name that there is not.
    """
    unknown = sorted(set(names) - set(MEASUREMENTS))
    if unknown:
        raise ConfigurationError(
            f"there is no measurement {', '.join(unknown)}; there are {', '.join(MEASUREMENTS)}"
        )
    return [one for one in MEASUREMENTS.values() if (one.name in names if names else not one.long)]
