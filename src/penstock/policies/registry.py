"""The strategies by name: ours, those registered in this process, and those other packages bring."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from penstock.errors import ConfigurationError
from penstock.model.rank import Policy
from penstock.policies.deadline import Deadline
from penstock.policies.fair import Fair
from penstock.policies.fifo import Fifo
from penstock.policies.least_attained import LeastAttained
from penstock.policies.mlfq import MultiLevelFeedback
from penstock.policies.preemptive import Preemptive
from penstock.policies.priority import PriorityWithAgeing
from penstock.policies.program_fifo import ProgramFifo
from penstock.policies.round_robin import RoundRobin
from penstock.policies.shortest_job_first import ShortestJobFirst
from penstock.policies.shortest_program import ShortestProgram
from penstock.policies.shortest_remaining import ShortestRemaining

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

PolicyFactory = Callable[..., Policy]

ENTRY_POINTS = "penstock.policies"
ALIASES = {"priority_based": "priority"}
# What a policy must have; `Strategy` brings all but `rank`.
METHODS = ("rank", "stepped", "flow")


def fair(
    inside: str | Policy = "priority",
    inside_settings: Mapping[str, Any] | None = None,
    weights: Mapping[str, float] | None = None,
    default_weight: float = 1.0,
    preemptive: bool = True,
) -> Fair:
    """Weighted shares per tenant; `inside` is a strategy, or the name of one made with `inside_settings`."""
    if isinstance(inside, str):
        inside = policy_named(inside, **(inside_settings or {}))
    elif inside_settings is not None:
        raise ConfigurationError("inside_settings go with the name of a strategy; this one is made already")
    return Fair(_checked("fair", inside), weights, default_weight, preemptive)


POLICIES: dict[str, PolicyFactory] = {
    "fifo": Fifo,
    "priority": PriorityWithAgeing,
    "preemptive": Preemptive,
    "round_robin": RoundRobin,
    "shortest_job_first": ShortestJobFirst,
    "shortest_remaining": ShortestRemaining,
    "deadline": Deadline,
    "mlfq": MultiLevelFeedback,
    "fair": fair,
    "least_attained": LeastAttained,
    "shortest_program": ShortestProgram,
    "program_fifo": ProgramFifo,
}


def policy_named(name: str, **settings: Any) -> Policy:
    """The strategy of that name with these settings; ConfigurationError where one of them is not allowed."""
    factory = _factory(name)
    allowed = settings_of(name)
    if allowed is not None and (unknown := sorted(set(settings) - set(allowed))):
        takes = f"it takes {', '.join(allowed)}" if allowed else "it takes none"
        raise ConfigurationError(f"strategy {name} has no setting {', '.join(unknown)}: {takes}")
    try:
        policy = factory(**settings)
    except ConfigurationError as error:
        raise ConfigurationError(f"strategy {name}: {error}") from error
    except Exception as error:
        raise ConfigurationError(
            f"strategy {name} cannot be made: {type(error).__name__}: {error}"
        ) from error
    return _checked(name, policy)


def register_policy(name: str, factory: PolicyFactory) -> None:
    """Make a strategy known by `name` in this process; `factory(**settings)` returns the policy."""
    if not isinstance(name, str) or not name.isidentifier() or name != name.lower():
        raise ConfigurationError(
            f"name of strategy {name!r}: use lower-case letters, digits and _, a letter first"
        )
    if not callable(factory):
        raise ConfigurationError(f"strategy {name}: {factory!r} is no class or function that makes a policy")
    if name in ALIASES or POLICIES.get(name, factory) is not factory:
        raise ConfigurationError(f"strategy {name} exists already: choose another name")
    POLICIES[name] = factory


def policy_names() -> list[str]:
    """All names that `policy_named` takes, aliases left out."""
    return sorted({*POLICIES, *_entry_points()})


def settings_of(name: str) -> tuple[str, ...] | None:
    """The settings a strategy takes; `None` when its factory takes any."""
    try:
        parameters = inspect.signature(_factory(name)).parameters.values()
    except ValueError:  # some factories written in C have no signature
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return tuple(parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL)


def rule_of(name: str) -> str:
    """The rule of a strategy in one line: the first of its docstring."""
    text = (_factory(name).__doc__ or "").strip()
    return " ".join(text.partition("\n\n")[0].split()) or "no description"


def defaults_of(name: str) -> dict[str, Any]:
    """The settings that a strategy is known to take, with their defaults."""
    parameters = inspect.signature(_factory(name)).parameters
    empty = inspect.Parameter.empty
    return {
        one: None if parameters[one].default is empty else parameters[one].default
        for one in settings_of(name) or ()
    }


def _factory(name: str) -> PolicyFactory:
    known = ALIASES.get(name, name)
    if known in POLICIES:
        return POLICIES[known]
    found = _entry_points().get(known)
    if found is None:
        raise ConfigurationError(f"strategy {name!r} is unknown: choose one of {', '.join(policy_names())}")
    try:
        factory = found.load()
    except Exception as error:
        raise ConfigurationError(
            f"strategy {name} ({found.value}) cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not callable(factory):
        raise ConfigurationError(
            f"strategy {name} ({found.value}) is no class or function that makes a policy"
        )
    made: PolicyFactory = factory
    return made


@cache
def _entry_points() -> dict[str, EntryPoint]:
    """What installed packages offer, by name; read once, and only when a name is not ours."""
    from importlib.metadata import entry_points  # slow to import, seldom needed

    return {found.name: found for found in entry_points(group=ENTRY_POINTS)}


def _checked(name: str, policy: Policy) -> Policy:
    missing = [method for method in METHODS if not callable(getattr(policy, method, None))]
    missing += [fact for fact in ("name", "preemptive") if not hasattr(policy, fact)]
    if missing:
        raise ConfigurationError(
            f"strategy {name}: {type(policy).__name__} has no {', '.join(missing)}; "
            "derive it from penstock.policies.Strategy"
        )
    return policy
