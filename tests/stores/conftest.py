"""What the store does once in a thousand events happens all the time here."""

import pytest

from penstock.stores.sql import session


@pytest.fixture(autouse=True)
def listed_at_once(monkeypatch):
    """How many events are listed at a time."""
    monkeypatch.setattr(session, "LISTED_AT_ONCE", 3)
    return 3
