"""Large values, once by content; the largest in parts: one that grows at its end costs what is new."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.stores.sql.session import Database, Row

# A history of some turns repeats itself in every value that holds it, so parts must be small beside it; each
# costs a row, and 16 bytes in every list that names it.
WHOLE_AT_MOST = 16 * 1024
PART = 8 * 1024

_DIGEST = 16


def hash_of(body: bytes) -> str:
    """What a value is known by."""
    return hashlib.blake2b(body, digest_size=_DIGEST).hexdigest()


def read_contents(find: Callable[[Sequence[str]], Sequence[Row]], hashes: Iterable[str]) -> dict[str, bytes]:
    """Values by hash; `find` gives rows (hash, size, body) of some hashes, each once."""
    wanted = list(dict.fromkeys(hashes))
    rows = find(wanted) if wanted else ()
    lists = {hash: _listed(body) for hash, size, body in rows if size is not None}
    found = {hash: bytes(body) for hash, size, body in rows if size is None}
    if lists:
        missing = dict.fromkeys(part for parts in lists.values() for part in parts if part not in found)
        bodies = {**found, **{hash: bytes(body) for hash, _, body in find(list(missing))}}
        found.update({hash: b"".join(map(bodies.__getitem__, parts)) for hash, parts in lists.items()})
    return found


class Contents:
    """What one transaction keeps and drops of large values, gathered. `as_list` makes lists as the statements
    take them."""

    def __init__(self, db: Database, as_list: Callable[[Iterable[Any]], str]) -> None:
        self._db = db
        self._as_list = as_list
        self._kept: dict[str, tuple[int, bytes]] = {}
        self._dropped: defaultdict[str, int] = defaultdict(int)

    def keep(self, body: bytes, times: int) -> str:
        """Keep a value for so many rows that name it; its hash."""
        hash = hash_of(body)
        count = self._kept[hash][0] if hash in self._kept else 0
        self._kept[hash] = (count + times, body)
        return hash

    def drop(self, hash: str, times: int) -> None:
        """So many rows name it no longer."""
        self._dropped[hash] += times

    def flush(self) -> None:
        """Write what was gathered."""
        if self._kept:
            kept, self._kept = self._kept, {}
            large = [hash for hash, (_, body) in kept.items() if len(body) > WHOLE_AT_MOST]
            rows = self._split(kept, large) if large else []
            rows += [(hash, refs, None, body) for hash, (refs, body) in kept.items()]
            self._db.many("keep_content", rows)
        if self._dropped:
            dropped, self._dropped = self._dropped, defaultdict(int)
            lists = self._forget(dropped)
            if lists:
                self._forget(Counter(part for parts in lists for part in parts))

    def _split(self, kept: dict[str, tuple[int, bytes]], large: Sequence[str]) -> list[Row]:
        """Take those that are to lie in parts out of `kept`; the rows for them. One that is there already,
        in whatever way, stays as it is."""
        known = {hash for (hash,) in self._db.rows("known_contents", (self._as_list(large),))}
        parts: dict[str, bytes] = {}
        listed: Counter[str] = Counter()
        rows: list[Row] = []
        for hash in large:
            if hash not in known:
                refs, body = kept.pop(hash)
                hashes = [_part(parts, body[at : at + PART]) for at in range(0, len(body), PART)]
                listed.update(hashes)
                rows.append((hash, refs, len(body), bytes.fromhex("".join(hashes))))
        return rows + [(hash, listed[hash], None, body) for hash, body in parts.items()]

    def _forget(self, counts: dict[str, int]) -> list[list[str]]:
        """Take so many names off each; the lists of parts of those that are gone with the last."""
        self._db.many("drop_content", list(counts.items()))
        gone = self._db.rows("forget_contents", (self._as_list(counts),))
        return [_listed(body) for (body,) in gone if body is not None]


def _part(parts: dict[str, bytes], body: bytes) -> str:
    hash = hash_of(body)
    parts[hash] = body
    return hash


def _listed(body: Any) -> list[str]:
    digits = bytes(body).hex()
    return [digits[at : at + 2 * _DIGEST] for at in range(0, len(digits), 2 * _DIGEST)]
