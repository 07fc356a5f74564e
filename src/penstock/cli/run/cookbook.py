"""The flag names of the well-known cookbook script for parallel requests, as options of ours."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from penstock.errors import ConfigurationError
from penstock.llm.wire import Family, classify, deployment_of

_RENAMED = {
    "save_filepath": "--output",
    "max_requests_per_minute": "--rpm",
    "max_tokens_per_minute": "--tpm",
    "max_attempts": "--attempts",
    "api_key": "--api_key",
}
_IGNORED = {
    "token_encoding_name": "tokens are estimated here, and counted as the provider reports them",
    "logging_level": "--quiet and --json choose what is shown",
}


def translate(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments in our own words, and what to tell the user."""
    ours: list[str] = []
    notes: list[str] = []
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        flag = name.removeprefix("--") if name.startswith("--") else ""
        if flag not in {*_RENAMED, *_IGNORED, "requests_filepath", "request_url"}:
            ours.append(name + equals + value)
            continue
        if not equals:
            if not rest:
                raise ConfigurationError(f"{name} needs a value")
            value = rest.pop(0)
        if flag in _IGNORED:
            notes.append(f"{name} is not used: {_IGNORED[flag]}")
        elif flag == "requests_filepath":
            ours.insert(0, value)
        elif flag == "request_url":
            ours += split_url(value)
        else:
            ours += [_RENAMED[flag], _number(value) if flag.startswith("max_") else value]
    return ours, notes


def split_url(url: str) -> list[str]:
    """`--base-url` and `--endpoint` of the address of one API call."""
    parts = urlsplit(url)
    if classify("POST", parts.path) is Family.UNKNOWN:
        raise ConfigurationError(
            f"--request_url {url!r} is no model call; give one such as https://api.openai.com/v1/chat/completions"
        )
    tails = ("/chat/completions", "/responses", "/embeddings", "/messages", "/completions")
    tail = next(tail for tail in tails if parts.path.rstrip("/").endswith(tail))
    base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix(tail)}"
    query = f"?{parts.query}" if parts.query else ""
    extra = ["--model", name] if (name := deployment_of(parts.path)) else []
    return ["--base-url", base + query, "--endpoint", "/v1" + tail, *extra]


def _number(value: str) -> str:
    """The script takes 1500.0 for 1500."""
    try:
        return str(int(float(value)))
    except ValueError:
        return value
