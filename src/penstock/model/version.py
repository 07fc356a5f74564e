"""Versions of handlers: short texts, the newest being the highest."""

from __future__ import annotations

import re

from penstock.errors import ConfigurationError


def checked_version(version: object) -> str:
    """The version itself; raises `ConfigurationError` for what is none."""
    if not isinstance(version, str) or len(version) > 100:
        raise ConfigurationError(
            f'version must be a text of at most 100 characters ("2"), not {version!r:.80}'
        )
    return version


def version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """What versions are compared by: figures as numbers, so that 10 is above 9; no version is below all."""
    pieces = re.findall(r"\d+|\D+", version)
    return tuple((1, int(piece), "") if piece.isdecimal() else (0, 0, piece) for piece in pieces)
