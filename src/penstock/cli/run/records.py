"""Records of the two output files, in OpenAI batch form with usage and cost."""

from __future__ import annotations

import json
from typing import Any

from penstock.model.states import TaskStatus
from penstock.model.usage import from_pico
from penstock.stores.contract import FinishedLine

ID_PREFIX = "batch_req_"


def line_metadata(custom_id: str | None, metadata: Any) -> dict[str, Any] | None:
    """What a task keeps of its line besides the request."""
    kept = {"custom_id": custom_id} if custom_id is not None else {}
    return {**kept, "metadata": metadata} if metadata is not None else kept or None


def succeeded(line: FinishedLine) -> bool:
    """Whether a finished line belongs in the file of results."""
    return line.status is TaskStatus.COMPLETED


def record(line: FinishedLine) -> str:
    """The line of an output file, with its line end. Texts of the store are JSON and go in as they are."""
    kept = json.loads(line.metadata) if line.metadata else {}
    fields = [
        f'{{"id":"{ID_PREFIX}{line.id}"',
        f'"custom_id":{_json(kept.get("custom_id", f"line-{line.position}"))}',
        f'"response":{line.result or "null"}' if succeeded(line) else '"response":null',
        f'"error":{"null" if succeeded(line) else _error(line)}',
        f'"usage":{{"input_tokens":{line.input_tokens},"output_tokens":{line.output_tokens}}}',
        f'"cost_usd":"{usd(line.cost)}"',
        f'"line":{line.position}',
    ]
    if "metadata" in kept:
        fields.append(f'"metadata":{_json(kept["metadata"])}')
    return ",".join(fields) + "}\n"


def error_code(line: FinishedLine) -> str:
    """Why a finished line has no result, in one word."""
    return str(_read_error(line).get("code", "failed"))


def usd(pico: int) -> str:
    """Pico-dollars as US dollars, plain decimals, six at least."""
    amount = from_pico(pico)
    text = f"{amount:.12f}".rstrip("0")
    return text + "0" * max(0, 6 - len(text.partition(".")[2]))


def _error(line: FinishedLine) -> str:
    given = _read_error(line)
    error = {
        "code": given.get("code", "failed"),
        "message": given.get("message", "no reason was given"),
        "attempt": given.get("attempt", line.attempt),
    }
    return _json(error | {key: value for key, value in given.items() if key not in error})


def _read_error(line: FinishedLine) -> dict[str, Any]:
    given = json.loads(line.error) if line.error else {}
    return given if isinstance(given, dict) else {"message": str(given)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
