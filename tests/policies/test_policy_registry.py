"""Strategies by name: settings are checked, errors name what is allowed, others may bring their own."""

from importlib.metadata import EntryPoint

import pytest

from penstock.errors import ConfigurationError
from penstock.model.rank import Rank
from penstock.policies import (
    POLICIES,
    Strategy,
    policy_named,
    policy_names,
    register_policy,
    registry,
    settings_of,
)
from penstock.policies.fair import Fair

ALL = {
    "deadline", "fair", "fifo", "least_attained", "mlfq", "preemptive", "priority", "program_fifo",
    "round_robin", "shortest_job_first", "shortest_program", "shortest_remaining",
}  # fmt: skip


class Lottery(Strategy):
    """By a number of its own."""

    name = "lottery"

    def __init__(self, tickets=1):
        self.tickets = tickets

    def rank(self, task, now):
        return Rank(0, task.entered_at * self.tickets)


@pytest.fixture
def own_policies(monkeypatch):
    """The registry, put back afterwards."""
    monkeypatch.setattr(registry, "POLICIES", dict(POLICIES))
    return registry.POLICIES


@pytest.fixture
def installed(monkeypatch):
    """Entry points as installed packages would bring them."""

    def install(**values):
        found = {name: EntryPoint(name, value, registry.ENTRY_POINTS) for name, value in values.items()}
        monkeypatch.setattr(registry, "_entry_points", lambda: found)

    return install


def test_all_strategies_are_there():
    assert set(POLICIES) == ALL
    assert set(policy_names()) >= ALL
    assert policy_named("priority_based").name == "priority"
    assert policy_named("priority_based", seconds_per_level=5).seconds_per_level == 5.0


def test_an_unknown_strategy_names_the_known():
    with pytest.raises(
        ConfigurationError, match="'lifo' is unknown: choose one of deadline, fair, fifo, "
    ) as raised:
        policy_named("lifo")
    assert all(name in str(raised.value) for name in ALL)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("fifo", {"time_slice": 1}, "strategy fifo has no setting time_slice: it takes none"),
        ("round_robin", {"slice": 1, "a": 2}, "has no setting a, slice: it takes time_slice"),
        ("round_robin", {"time_slice": 0}, "round_robin: time_slice must be a number above 0, not 0"),
        ("round_robin", {"time_slice": -1.5}, "time_slice must be a number above 0, not -1.5"),
        ("round_robin", {"time_slice": "2"}, "time_slice must be a number above 0, not '2'"),
        ("round_robin", {"time_slice": True}, "time_slice must be a number above 0, not True"),
        ("round_robin", {"time_slice": float("nan")}, "time_slice must be a number above 0, not nan"),
        ("round_robin", {"time_slice": None}, "time_slice must be a number above 0, not None"),
        ("priority", {"seconds_per_level": -1}, "seconds_per_level must be 0 or a number above 0, not -1"),
        ("preemptive", {"seconds_per_level": float("inf")}, "must be 0 or a number above 0, not inf"),
        ("shortest_job_first", {"ageing": -0.1}, "ageing must be 0 or a number of at least 1e-09, not -0.1"),
        ("shortest_remaining", {"ageing": 1e-300}, "ageing must be 0 or a number of at least 1e-09"),
        ("deadline", {"preemptive": 1}, "preemptive must be true or false, not 1"),
        ("mlfq", {"levels": ()}, "levels must be numbers above 0, each above the one before, not "),
        ("mlfq", {"levels": (64, 64)}, "levels must be numbers above 0, each above the one before"),
        ("mlfq", {"levels": (0, 64)}, "levels must be numbers above 0"),
        ("mlfq", {"levels": "64"}, "levels must be numbers above 0, each above the one before, not '64'"),
        ("mlfq", {"levels": 64}, "levels must be numbers above 0, each above the one before, not 64"),
        ("mlfq", {"levels": [1, None]}, "levels must be numbers above 0"),
        ("mlfq", {"boost_seconds": 0.5}, "boost_seconds must be 0 or a number of at least 1, not 0.5"),
        ("fair", {"weights": {"ann": -1}}, "weight of tenant 'ann' must be a number above 0, not -1"),
        ("fair", {"weights": {"ann": 0}}, "weight of tenant 'ann' must be a number above 0, not 0"),
        ("fair", {"weights": {3: 1}}, "weights must map names of tenants to numbers above 0; 3 is no name"),
        ("fair", {"weights": [1, 2]}, r"weights must map tenants to numbers above 0, not \[1, 2\]"),
        ("fair", {"default_weight": 0}, "default_weight must be a number above 0, not 0"),
        ("fair", {"preemptive": "no"}, "preemptive must be true or false, not 'no'"),
        ("fair", {"inside": "fair"}, "takes any other strategy inside, not fair"),
        ("fair", {"inside": "lifo"}, "strategy fair: strategy 'lifo' is unknown: choose one of"),
        ("fair", {"inside": 3}, "strategy fair: int has no rank, stepped, flow, name, preemptive"),
        ("fair", {"inside": "mlfq", "inside_settings": {"x": 1}}, "strategy mlfq has no setting x"),
        ("fair", {"inside": Lottery(), "inside_settings": {}}, "inside_settings go with the name of a"),
    ],
)  # fmt: skip
def test_bad_settings_are_refused_and_name_what_is_allowed(name, settings, message):
    with pytest.raises(ConfigurationError, match=message):
        policy_named(name, **settings)


def test_settings_reach_the_strategy():
    fair = policy_named("fair", inside="round_robin", inside_settings={"time_slice": 7}, weights={"a": 2})
    assert isinstance(fair, Fair)
    assert (fair.inside.time_slice, fair.weight("a")) == (7.0, 2.0)
    assert policy_named("fair").inside.name == "priority"
    assert settings_of("mlfq") == ("levels", "boost_seconds")
    assert settings_of("fair") == ("inside", "inside_settings", "weights", "default_weight", "preemptive")
    assert settings_of("fifo") == ()


def test_a_policy_of_ones_own(own_policies):
    register_policy("lottery", Lottery)
    register_policy("lottery", Lottery)
    assert policy_named("lottery", tickets=3).tickets == 3
    assert policy_named("fair", inside="lottery").inside.name == "lottery"
    assert "lottery" in policy_names()
    with pytest.raises(ConfigurationError, match="lottery has no setting luck: it takes tickets"):
        policy_named("lottery", luck=1)


@pytest.mark.parametrize(
    ("name", "factory", "message"),
    [
        ("fifo", Lottery, "strategy fifo exists already"),
        ("priority_based", Lottery, "strategy priority_based exists already"),
        ("My Policy", Lottery, "use lower-case letters"),
        ("", Lottery, "use lower-case letters"),
        (None, Lottery, "use lower-case letters"),
        ("mine", 3, "3 is no class or function"),
    ],
)
def test_what_cannot_be_registered(own_policies, name, factory, message):
    with pytest.raises(ConfigurationError, match=message):
        register_policy(name, factory)


def test_what_is_no_policy_is_refused(own_policies):
    class OnlyRanks:
        name = "only_ranks"
        preemptive = False

        def rank(self, task, now):
            return Rank(0, 0.0)

    def explodes(**settings):
        raise OSError("no weights here")

    register_policy("only_ranks", OnlyRanks)
    register_policy("explodes", explodes)
    with pytest.raises(
        ConfigurationError, match=r"OnlyRanks has no stepped, flow; derive it from .*\.Strategy"
    ):
        policy_named("only_ranks")
    with pytest.raises(
        ConfigurationError, match="strategy explodes cannot be made: OSError: no weights here"
    ):
        policy_named("explodes", anything=1)


def test_other_packages_bring_strategies(installed):
    installed(longest="penstock.policies.fifo:Fifo", fifo="nowhere:Nothing")
    assert policy_named("longest").name == "fifo"
    assert policy_named("fifo").name == "fifo", "ours cannot be replaced"
    assert "longest" in policy_names()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere_at_all:Policy", r"theirs \(nowhere_at_all:Policy\) cannot be loaded: ModuleNotFoundError"),
        ("penstock.policies.fifo:Missing", "cannot be loaded: AttributeError"),
        ("penstock.policies.deadline:HOPELESS", "is no class or function that makes a policy"),
    ],
)
def test_a_broken_package_is_named(installed, value, message):
    installed(theirs=value)
    with pytest.raises(ConfigurationError, match=message):
        policy_named("theirs")


def test_entry_points_of_this_environment_can_be_read():
    registry._entry_points.cache_clear()
    assert set(policy_names()) >= ALL
