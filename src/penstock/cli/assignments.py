"""Settings as people type them: key=value, the value JSON or plain text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from penstock.errors import ConfigurationError


def read_assignments(given: Iterable[str], option: str) -> dict[str, Any]:
    """What `key=value` of each says; raises `ConfigurationError` naming the option."""
    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key.isidentifier():
            raise ConfigurationError(f"{option} {text!r} is no setting; give one such as ageing=0.1")
        if key in found:
            raise ConfigurationError(f"{option} names {key} twice; give it once")
        found[key] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
