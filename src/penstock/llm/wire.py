"""Which kind of call a request is, and what it asks for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import unquote, urlsplit


class Family(StrEnum):
    """The shape of a request and its reply; everything else about a call follows from it."""

    CHAT = "chat"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"
    MESSAGES = "messages"
    COMPLETIONS = "completions"
    UNKNOWN = "unknown"


# Only the end of a path counts, so any base prefix fits: /v1, /openai/v1, /v1beta/openai, a proxy's own.
_ENDINGS = (
    (re.compile(r"/chat/completions$"), Family.CHAT),
    (re.compile(r"/responses$"), Family.RESPONSES),
    (re.compile(r"/embeddings$"), Family.EMBEDDINGS),
    # /threads/{id}/messages is another thing: it only stores a message.
    (re.compile(r"^(?!.*/threads/).*/messages$"), Family.MESSAGES),
    (re.compile(r"/completions$"), Family.COMPLETIONS),
)
_DEPLOYMENT = re.compile(r"/openai/deployments/([^/]+)/")


@dataclass(frozen=True, slots=True)
class CallShape:
    """What a request asks for, as far as limits, money and the journal care.

    `output_cap` is the caller's own cap in tokens for one answer, `n` how many answers it asks for.
    `body` is the parsed JSON object, or None when there is none. Everything but `family`, `method` and `path`
    is a default when the body is absent or malformed: the provider judges bodies, not this room.
    """

    family: Family
    method: str
    path: str
    model: str | None = None
    stream: bool = False
    output_cap: int | None = None
    n: int = 1
    service_tier: str | None = None
    body: dict[str, Any] | None = field(default=None, repr=False)


def path_of(url_path: str) -> str:
    """The path alone, with one leading slash and no trailing one; takes whole URLs and queries too."""
    try:
        path = urlsplit(url_path).path if "//" in url_path else url_path.split("?", 1)[0].split("#", 1)[0]
    except ValueError:
        path = url_path.split("?", 1)[0]
    return "/" + path.strip("/")


def classify(method: str, path: str) -> Family:
    """The family of a request; UNKNOWN for everything that does not make a model work."""
    if method.upper() != "POST":
        return Family.UNKNOWN
    clean = path_of(path)
    for ending, family in _ENDINGS:
        if ending.search(clean):
            return family
    return Family.UNKNOWN


def deployment_of(path: str) -> str | None:
    """The Azure deployment named by a path such as /openai/deployments/{name}/chat/completions."""
    found = _DEPLOYMENT.search(path_of(path) + "/")
    return unquote(found[1]) if found else None


def read_call(method: str, url_path: str, body: bytes | dict[str, Any] | None) -> CallShape:
    """What this request asks for. Never raises: a malformed body gives the defaults."""
    family = classify(method, url_path)
    parsed = body if isinstance(body, dict) else read_object(body)
    model = (parsed or {}).get("model")
    deployment = deployment_of(url_path)
    # Azure's older addresses ignore the body's model; SDKs put the deployment or the model's own name there.
    named = model if isinstance(model, str) and model else deployment
    shape = CallShape(family, method.upper(), path_of(url_path), named, body=parsed)
    if parsed is None or family is Family.UNKNOWN:
        return shape
    tier = parsed.get("service_tier")
    return CallShape(
        family,
        shape.method,
        shape.path,
        named,
        stream=parsed.get("stream") is True,
        output_cap=read_output_cap(family, parsed),
        n=_answers(family, parsed),
        service_tier=tier if isinstance(tier, str) else None,
        body=parsed,
    )


def read_object(body: bytes | str | None) -> dict[str, Any] | None:
    """The JSON object in these bytes, or None when they hold anything else."""
    if not body:
        return None
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


CAP_FIELDS: dict[Family, tuple[str, ...]] = {
    Family.CHAT: ("max_completion_tokens", "max_tokens"),
    Family.RESPONSES: ("max_output_tokens",),
    Family.MESSAGES: ("max_tokens",),
    Family.COMPLETIONS: ("max_tokens",),
}
"""Where each family states its output cap; the first field present is the one that rules."""

LARGEST_CAP, MOST_ANSWERS = 10_000_000, 10_000
"""No provider grants more; a larger number counts as this one, and is the provider's to refuse."""


def read_output_cap(family: Family, body: dict[str, Any]) -> int | None:
    """The cap on the tokens of one answer that the caller set, or None."""
    for name in CAP_FIELDS.get(family, ()):
        cap = body.get(name)
        if isinstance(cap, int) and not isinstance(cap, bool) and cap > 0:
            return min(cap, LARGEST_CAP)
    return None


def _answers(family: Family, body: dict[str, Any]) -> int:
    """How many answers are generated and paid for, 1 at least."""
    if family not in (Family.CHAT, Family.COMPLETIONS):
        return 1
    counts = [body.get("n")] + ([body.get("best_of")] if family is Family.COMPLETIONS else [])
    numbers = [c for c in counts if isinstance(c, int) and not isinstance(c, bool)]
    asked = max([1, *(min(number, MOST_ANSWERS) for number in numbers)])
    prompts = body.get("prompt")
    if family is Family.COMPLETIONS and isinstance(prompts, list) and prompts:
        # A list of texts, or of lists of token ids, is one answer each; a plain list of ids is one prompt.
        asked *= 1 if isinstance(prompts[0], int) else len(prompts)
    return asked
