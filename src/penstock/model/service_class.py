"""Service classes: presets of priority and deadline for four kinds of work."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class ServiceClass:
    """`slo_seconds`: the deadline of a task that gives none, in seconds from its submission."""

    name: str
    priority: int
    slo_seconds: float | None


CLASSES = {
    one.name: one
    for one in (
        ServiceClass("immediate", 90, 30.0),
        ServiceClass("scheduled", 40, None),
        ServiceClass("background", 20, None),
        ServiceClass("batch", 5, 86_400.0),
    )
}


def service_class(name: str) -> ServiceClass:
    """The preset of that name."""
    found = CLASSES.get(name)
    if found is None:
        raise ConfigurationError(f"service class {name!r} is unknown: choose one of {', '.join(CLASSES)}")
    return found
