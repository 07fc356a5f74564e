"""The smallest sensible value that fits a JSON schema.

Enough of the standard for structured outputs and tools.
"""

from __future__ import annotations

from typing import Any

from penstock.simulator.chance import draw_integer

_MAX_DEPTH = 12
_FORMATS = {
    "date-time": "2025-01-01T00:00:00Z",
    "date": "2025-01-01",
    "time": "00:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_WORDS = ("water", "wheel", "valve", "river", "gate", "stone", "field", "light")


def instance_of(schema: Any, seed: int, digest: bytes) -> Any:
    """A value that fits `schema`; seed and request draw which of several fitting words and choices it is."""
    return _Maker(schema, seed, digest).make(schema, "", 0)


class _Maker:
    def __init__(self, root: Any, seed: int, digest: bytes) -> None:
        self._root = root
        self._seed = seed
        self._digest = digest

    def make(self, schema: Any, path: str, depth: int) -> Any:
        if not isinstance(schema, dict) or depth > _MAX_DEPTH:
            return {} if depth == 0 else None
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._pick(schema["enum"], path)
        if "$ref" in schema:
            return self.make(self._resolve(str(schema["$ref"])), path, depth + 1)
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                return self.make(schema[key][0], path, depth + 1)
        if schema.get("allOf"):
            return self.make(_merged(schema["allOf"]), path, depth + 1)
        return self._by_type(schema, path, depth)

    def _by_type(self, schema: dict[str, Any], path: str, depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema or depth == 0 else "string")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        if kind == "object":
            return self._object(schema, path, depth)
        if kind == "array":
            return self._array(schema, path, depth)
        if kind in ("integer", "number"):
            return self._number(schema, path, kind == "integer")
        if kind == "boolean":
            return bool(self._draw(path) % 2)
        return None if kind == "null" else self._string(schema, path)

    def _object(self, schema: dict[str, Any], path: str, depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        # All properties are given at the top; deeper only those that must be there, so that trees end.
        names = list(properties) if depth < 4 else list(schema.get("required", ()))
        return {name: self.make(properties.get(name, {}), f"{path}.{name}", depth + 1) for name in names}

    def _array(self, schema: dict[str, Any], path: str, depth: int) -> list[Any]:
        least = int(schema.get("minItems", 1 if depth < 4 else 0))
        items = schema.get("items", {"type": "string"})
        return [self.make(items, f"{path}[{number}]", depth + 1) for number in range(least)]

    def _number(self, schema: dict[str, Any], path: str, whole: bool) -> float:
        step = schema.get("multipleOf", 1 if whole else 0)
        low = schema.get("minimum")
        if low is None:
            low = schema.get("exclusiveMinimum")
            low = None if low is None else low + (step or 1e-3)
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        if low is None:
            low = 0 if high is None or high > 0 else high - (step or 1)
        value = -(-low // step) * step if step else low
        span = 9 if high is None else max(0, min(9, int((high - value) // (step or 1)) - 1))
        value += (step or 1) * (self._draw(path) % (span + 1))
        return int(value) if whole else float(value)

    def _string(self, schema: dict[str, Any], path: str) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        word: str = self._pick(_WORDS, path)
        word += word * (int(schema.get("minLength", 0)) // len(word))
        return word[: schema["maxLength"]] if "maxLength" in schema else word

    def _resolve(self, reference: str) -> Any:
        found = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            if part and isinstance(found, dict):
                found = found.get(part.replace("~1", "/").replace("~0", "~"), {})
        return found

    def _draw(self, path: str) -> int:
        return draw_integer(self._seed, self._digest + path.encode("utf-8", "replace"))

    def _pick(self, choices: Any, path: str) -> Any:
        return choices[self._draw(path) % len(choices)]


def _merged(schemas: list[Any]) -> dict[str, Any]:
    """Several schemas as one: properties and required names together, the rest by the last that says it."""
    merged: dict[str, Any] = {}
    for schema in schemas:
        for key, value in schema.items() if isinstance(schema, dict) else ():
            if key == "properties":
                merged[key] = {**merged.get(key, {}), **value}
            elif key == "required":
                merged[key] = [*merged.get(key, []), *value]
            else:
                merged[key] = value
    return merged
