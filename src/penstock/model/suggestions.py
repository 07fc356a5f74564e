"""The name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Comparing all with all is quadratic; thousands of wrong names are one mistake, and need no thousand hints.
COMPARISONS = 20_000


class Suggester:
    """Suggests one of the known names for an unknown one; what it spends on that is bounded."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = list(dict.fromkeys(known))
        self._left = COMPARISONS
        self._asked: dict[str, str | None] = {}
        self._plain: dict[str, str] | None = None

    def nearest(self, name: str) -> str | None:
        """The known name that is most like this one; `None` when none is much like it."""
        if name not in self._asked:
            self._asked[name] = self._look(name)
        return self._asked[name]

    def hint(self, name: str) -> str:
        """ "; did you mean ..." or, where little is known, what there is; else nothing."""
        if (nearest := self.nearest(name)) is not None:
            return f"; did you mean {nearest!r}?"
        if 0 < len(self._known) <= 10:
            return f"; there are {', '.join(map(repr, self._known))}"
        return ""

    def _look(self, name: str) -> str | None:
        if self._plain is None:
            self._plain = {_plain(one): one for one in self._known}
        if (same := self._plain.get(_plain(name))) is not None:
            return same
        if self._left < len(self._known):
            return None
        self._left -= len(self._known)
        found = difflib.get_close_matches(name[:100], self._known, n=1, cutoff=0.6)
        return found[0] if found else None


def _plain(name: str) -> str:
    """A name without what people mix up: case, and what stands between words."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())
