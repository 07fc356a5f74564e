"""JSON schemas that users bring: checked at the door, and kept to by what a model answers."""

from __future__ import annotations

from typing import Any

from penstock.task_types.field_types import json_size, wrong

LARGEST_SCHEMA = 100_000
DEEPEST_SCHEMA = 60


def check_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema itself; raises a validator's error for one that is none, or refers to other documents."""
    if schema.get("type", "object") != "object":
        raise wrong(f"type: must be object, not {str(schema.get('type'))[:50]!r}")
    if not isinstance(schema.get("$schema", ""), str):
        raise wrong("$schema: must be the address of a draft")
    if json_size(schema) > LARGEST_SCHEMA:
        raise wrong(f"is larger than {LARGEST_SCHEMA:,} characters")
    _check_references(schema, schema, 0)
    try:
        _validator_class(schema).check_schema(schema)
    except _library().SchemaError as error:
        place = ".".join(map(str, error.absolute_path)) or "the schema"
        raise wrong(f"{place}: {error.message[:300]}") from None
    return schema


def problems_of(value: Any, schema: dict[str, Any]) -> list[str]:
    """What is wrong with a value by this schema, place by place; the same words every time."""
    from referencing import Registry

    # An empty registry: a reference to another document is an error, never a request to somewhere.
    validator = _validator_class(schema)(schema, registry=Registry())
    try:
        found = sorted(validator.iter_errors(value), key=lambda error: error.json_path)
    except RecursionError:
        return ["it is nested too deeply"]
    return [f"{error.json_path.removeprefix('$.')}: {error.message[:300]}" for error in found[:10]]


def _check_references(part: Any, root: dict[str, Any], depth: int) -> None:
    if depth > DEEPEST_SCHEMA:
        raise wrong(f"is nested deeper than {DEEPEST_SCHEMA} levels")
    if isinstance(part, dict):
        if isinstance(part.get("$id"), str) and depth > 0:
            raise wrong("$id: only the schema itself may have one")
        for name in ("$ref", "$dynamicRef"):
            reference = part.get(name)
            if isinstance(reference, str) and not (reference == "#" or _leads_to(reference, root)):
                raise wrong(f"{name}: {reference[:100]!r} leads nowhere in this schema")
    parts = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for one in parts:
        _check_references(one, root, depth + 1)


def _leads_to(reference: str, root: dict[str, Any]) -> bool:
    if not reference.startswith("#/"):
        return False
    found: Any = root
    for step in reference[2:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return True


def _library() -> Any:
    """Loaded when the first schema comes: most programs bring none."""
    import jsonschema  # type: ignore[import-untyped]

    return jsonschema


def _validator_class(schema: dict[str, Any]) -> Any:
    return _library().validators.validator_for(schema, default=_library().Draft202012Validator)
