"""What the provider saw and what it was paid for, by request hash.

The yardstick that runs are measured with.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

_LISTED = 100
_CUT = (
    1 << 32
)  # counts of cut replies live above those of whole ones, so a request costs one dictionary entry
_NOT_HASHED = ("stream", "stream_options")


def request_digest(path: str, body: dict[str, Any]) -> bytes:
    """SHA-256 of the path followed by the body as canonical JSON without `stream` and `stream_options`."""
    plain = {key: value for key, value in body.items() if key not in _NOT_HASHED}
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(path.encode("utf-8", "surrogatepass") + canonical.encode("ascii")).digest()


def request_hash(path: str, body: dict[str, Any]) -> str:
    """The hash the statistics know a request by, as hex; `path` as sent, such as `/v1/chat/completions`."""
    return request_digest(path, body).hex()


class Stats:
    """Counters of one run of the provider, from its start or its last reset."""

    def __init__(self) -> None:
        self.calls = 0
        self.answered = 0
        self.refused = 0
        self.too_large = 0
        self.abandoned = 0
        self.billed = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.in_flight = 0
        self.max_in_flight = 0
        self.by_status: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self._paid: dict[bytes, int] = {}
        self._paid_cut = 0
        self._paid_twice = 0
        self._answered_twice = 0
        self._listed: list[bytes] = []

    def arrive(self) -> int:
        """A call came; its number, from 1."""
        self.calls += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        return self.calls

    def leave(self) -> None:
        """A call is over, however it ended."""
        self.in_flight -= 1

    def bill(self, digest: bytes, input_tokens: int, output_tokens: int, answered: bool) -> None:
        """A call was paid; `answered` when its reply went out whole and sound."""
        self.billed += 1
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.answered += answered
        self._paid_cut += not answered
        before = self._paid.get(digest, 0)
        self._paid[digest] = before + (1 if answered else _CUT)
        if before in (1, _CUT):
            self._paid_twice += 1
            if len(self._listed) < _LISTED:
                self._listed.append(digest)
        if answered and before % _CUT == 1:
            self._answered_twice += 1

    def paid(self) -> dict[str, list[int]]:
        """How often each request hash was billed.

        Two counts: answered whole; billed but cut, hung, broken or left by the client.
        """
        return {digest.hex(): _split(count) for digest, count in self._paid.items()}

    def paid_for(self, request: str) -> tuple[int, int]:
        """The two counts of one request hash."""
        whole, cut = _split(self._paid.get(bytes.fromhex(request), 0))
        return whole, cut

    def report(self) -> dict[str, Any]:
        """Everything but the limits, bounded in size however many calls there were.

        `paid.twice`: requests billed more than once in any way; `paid.answered_twice`: those with more than
        one whole reply; `paid.cut`: billed calls whose reply did not arrive whole.
        """
        return {
            "calls": self.calls,
            "answered": self.answered,
            "refused": self.refused,
            "too_large": self.too_large,
            "abandoned": self.abandoned,
            "billed": self.billed,
            "tokens": {"input": self.input_tokens, "output": self.output_tokens},
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "by_status": {str(status): count for status, count in sorted(self.by_status.items())},
            "faults": dict(sorted(self.faults.items())),
            "paid": {
                "requests": len(self._paid),
                "cut": self._paid_cut,
                "twice": self._paid_twice,
                "answered_twice": self._answered_twice,
                "more_than_once": {digest.hex(): _split(self._paid[digest]) for digest in self._listed},
            },
        }


def _split(count: int) -> list[int]:
    return [count % _CUT, count // _CUT]
