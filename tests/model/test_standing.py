"""Standings as a store keeps them."""

from dataclasses import FrozenInstanceError

import pytest

from penstock.model.standing import Program, Standing, read_standing, standing_text

COLUMNS = {"entered_at": 5.0, "priority": 30, "deadline": 9.0, "tenant": "a"}

STANDINGS = [
    Standing(**COLUMNS),
    Standing(**COLUMNS, size=7.5, attained=2.0, seconds_left=1.0, program=Program("p", 4.0, 8.0)),
    Standing(**COLUMNS, turn_at=6.0, slice_used=0.5, level=2, started=True),
]


@pytest.mark.parametrize("standing", STANDINGS)
def test_what_is_read_is_what_was_kept(standing):
    read = read_standing(standing_text(standing), **COLUMNS, program=standing.program)
    assert type(read) is Standing
    assert (read, hash(read), repr(read)) == (standing, hash(standing), repr(standing))


def test_no_policy_can_change_what_was_read():
    with pytest.raises(FrozenInstanceError):
        read_standing('{"size":3.0}', **COLUMNS).size = 4.0


def test_names_of_a_newer_version_are_ignored():
    assert read_standing('{"size":3.0,"colour":"red"}', **COLUMNS) == Standing(**COLUMNS, size=3.0)
