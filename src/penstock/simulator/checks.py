"""Checks that every wire format makes on a body; each refuses with a 400 that names the parameter."""

from __future__ import annotations

from typing import Any

from penstock.simulator.wire import Json, invalid


def need_model(body: Json, default: Any = None) -> str:
    """The model's name, or the deployment's when the address names one."""
    model = default or body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("model", "you must provide a model parameter")
    return model


def optional_integer(body: Json, name: str, least: int, most: int | None = None) -> int | None:
    """An integer parameter within its bounds, or `None` when it is absent or null."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(name, f"Invalid type for '{name}': expected an integer, got {value!r}.", "invalid_type")
    if value < least or (most is not None and value > most):
        bounds = f"at least {least}" if most is None else f"between {least} and {most}"
        raise invalid(name, f"Invalid '{name}': {value} is not {bounds}.", "integer_out_of_range")
    return value


def output_cap(body: Json, *names: str) -> int | None:
    """The smallest of the output caps given under these names."""
    caps = [cap for name in names if (cap := optional_integer(body, name, 1)) is not None]
    return min(caps, default=None)


def check_number(body: Json, name: str, least: float, most: float) -> None:
    """A sampling parameter must be a number within its bounds."""
    value = body.get(name)
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise invalid(name, f"Invalid type for '{name}': expected a number, got {value!r}.", "invalid_type")
    if not least <= value <= most:
        raise invalid(
            name, f"Invalid '{name}': {value} is not between {least} and {most}.", "decimal_out_of_range"
        )


def flag(body: Json, name: str) -> bool:
    """A boolean parameter; absent or null is false."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid(name, f"Invalid type for '{name}': expected a boolean, got {value!r}.", "invalid_type")
    return bool(value)


def optional_object(body: Json, name: str) -> Json:
    """An object parameter; absent or null is empty."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(name, f"Invalid type for '{name}': expected an object, got {value!r}.", "invalid_type")
    return value


def optional_list(body: Json, name: str) -> list[Any]:
    """A list parameter; absent or null is empty."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid(name, f"Invalid type for '{name}': expected an array, got {value!r}.", "invalid_type")
    return value


def check_messages(messages: Any, name: str, roles: frozenset[str]) -> list[Json]:
    """A list of messages, not empty.

    Each with a known role and a content that is a text or a list of parts.
    """
    if not isinstance(messages, list):
        raise invalid(name, f"Invalid type for '{name}': expected an array of messages.", "invalid_type")
    if not messages:
        raise invalid(name, f"Invalid '{name}': empty array, expected at least one message.", "empty_array")
    for position, message in enumerate(messages):
        where = f"{name}[{position}]"
        if not isinstance(message, dict):
            raise invalid(where, f"Invalid type for '{where}': expected an object.", "invalid_type")
        if not isinstance(message.get("role"), str) or message["role"] not in roles:
            known = ", ".join(sorted(roles))
            raise invalid(
                f"{where}.role",
                f"Invalid value for '{where}.role': expected one of {known}.",
                "invalid_value",
            )
        check_content(message, where)
    return messages


def check_parts(content: Any, name: str) -> None:
    """A text, or a list of parts; nothing is fine."""
    if content is not None:
        check_content({"role": "user", "content": content}, name)


def check_content(message: Json, where: str) -> None:
    """A content is a text or a list of parts; only an assistant's may be missing."""
    content = message.get("content")
    place = f"{where}.content"
    if isinstance(content, str) or (content is None and message["role"] == "assistant"):
        return
    if not isinstance(content, list):
        raise invalid(place, f"Invalid value for '{place}': expected a string or an array.", "invalid_type")
    for position, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise invalid(f"{place}[{position}]", f"Missing required parameter: '{place}[{position}].type'.")


def known_tool(name: Any, names: list[str]) -> str:
    """A forced tool must be one of those offered."""
    if name not in names:
        raise invalid(
            "tool_choice", f"Invalid 'tool_choice': no tool named {name!r} was given.", "invalid_value"
        )
    return str(name)
