"""Data with references in them: checked at the door as far as it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from penstock.errors import InvalidTask
from penstock.model.estimate import NOTHING, Estimate
from penstock.model.references import holes
from penstock.runtime.handlers import Handler


def check_around(handler: Handler, data: Any) -> None:
    """Raise `InvalidTask` for what is wrong with fields that hold no references; the others are checked when
    they are filled in."""
    open_fields = holes(data)
    if open_fields is None:
        return
    try:
        handler.check(data)
    except InvalidTask as error:
        if not open_fields or any(field not in open_fields for field in error.fields):
            raise


def handler_around(handler: Handler) -> Handler:
    """The handler, as it can be asked of data in which fields are yet to be filled in."""
    estimate = None if handler.estimate is None else partial(_estimate, handler.estimate)
    return replace(handler, model=partial(_model, handler.model), estimate=estimate)


def _model(model: Callable[[Any], str], data: Any) -> str:
    try:
        return model(data) if isinstance(data, dict) else ""
    except Exception:  # it reads fields that are not there yet
        return ""


def _estimate(estimate: Callable[[Any], Estimate], data: Any) -> Estimate:
    try:
        return estimate(data)
    except Exception:
        return NOTHING
