"""Ids for nodes that were given none."""

from __future__ import annotations

import re
from collections.abc import Container

_NOT_OF_AN_ID = re.compile(r"[^\w.:-]")


class FreeIds:
    """Finds ids that are not `taken`, and beginnings of ids for included workflows; `parts` are those that
    are in use."""

    def __init__(self, taken: Container[str]) -> None:
        self._taken = taken
        self.parts: set[str] = set()
        self._numbers: dict[str, int] = {}  # by wanted id: all lower numbers are taken

    def free(self, wanted: str) -> str:
        """The wanted id, as far as it can be one, with a number behind it where it is taken."""
        wanted = _NOT_OF_AN_ID.sub("-", wanted).lstrip(".:-")[:80] or "node"
        number = self._numbers.get(wanted, 1)
        while (id := wanted if number == 1 else f"{wanted}-{number}") in self._taken or id in self.parts:
            number += 1
        self._numbers[wanted] = number
        return id
