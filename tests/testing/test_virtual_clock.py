import pytest

from penstock.model.clock import Clock
from penstock.testing import VirtualClock


def test_stands_still_until_moved():
    clock: Clock = VirtualClock(wall=100.0, monotonic=5.0)
    assert (clock.wall(), clock.monotonic()) == (clock.wall(), clock.monotonic()) == (100.0, 5.0)


def test_time_passes_on_both_clocks():
    clock = VirtualClock(wall=100.0, monotonic=5.0)
    clock.advance(2.5)
    assert (clock.wall(), clock.monotonic()) == (102.5, 7.5)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_only_the_wall_jumps(jump):
    clock = VirtualClock(wall=1e9, monotonic=5.0)
    clock.jump_wall(jump)
    assert (clock.wall(), clock.monotonic()) == (1e9 + jump, 5.0)


def test_time_does_not_go_back():
    with pytest.raises(ValueError, match="does not go back"):
        VirtualClock().advance(-1)
