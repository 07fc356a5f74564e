"""What is peculiar to each provider, found by the host of its address."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class ProviderProfile:
    """How one provider counts, what it says in headers, and what it understands.

    `counts`: whether token limits are charged with actual usage or with prompt plus output cap, reserved up
    front. `requests_header_seconds`: the window its plain requests headers speak of. `stream_usage`: it
    understands `stream_options.include_usage`. `prices_id`: its name in the price data, None when only the
    model name can tell. `local`: runs on the user's own machine or network and costs nothing unless a price
    is set.
    """

    name: str
    counts: Literal["actual", "reserved"] = "actual"
    requests_header_seconds: float = 60.0
    stream_usage: bool = True
    prices_id: str | None = None
    local: bool = False


UNKNOWN = ProviderProfile("unknown")
LOCAL = ProviderProfile("local", local=True)
OPENAI = ProviderProfile("openai", counts="reserved", prices_id="openai")
AZURE = replace(OPENAI, name="azure", prices_id="azure")
ANTHROPIC = ProviderProfile("anthropic", counts="reserved", prices_id="anthropic")
# Its plain requests headers speak of the day, its token headers of the minute.
GROQ = ProviderProfile("groq", requests_header_seconds=86_400.0, prices_id="groq")
CEREBRAS = ProviderProfile("cerebras", counts="reserved", prices_id="cerebras")
GEMINI = ProviderProfile("gemini", prices_id="google")

_BY_HOST: tuple[tuple[str, ProviderProfile], ...] = (
    ("api.openai.com", OPENAI),
    ("openai.azure.com", AZURE),
    ("cognitiveservices.azure.com", AZURE),
    ("services.ai.azure.com", AZURE),
    ("azure-api.net", AZURE),
    ("anthropic.com", ANTHROPIC),
    ("groq.com", GROQ),
    ("cerebras.ai", CEREBRAS),
    ("generativelanguage.googleapis.com", GEMINI),
    ("googleapis.com", replace(GEMINI, name="vertex")),
    ("openrouter.ai", ProviderProfile("openrouter", prices_id="openrouter")),
    ("mistral.ai", ProviderProfile("mistral", prices_id="mistral", stream_usage=False)),
    ("deepseek.com", ProviderProfile("deepseek", prices_id="deepseek")),
    ("together.xyz", ProviderProfile("together", prices_id="together")),
    ("fireworks.ai", ProviderProfile("fireworks", prices_id="fireworks")),
    ("x.ai", ProviderProfile("x-ai", prices_id="x-ai")),
    ("perplexity.ai", ProviderProfile("perplexity", prices_id="perplexity")),
    ("moonshot.ai", ProviderProfile("moonshot", prices_id="moonshotai")),
    ("moonshot.cn", ProviderProfile("moonshot", prices_id="moonshotai")),
)
_BY_NAME = {profile.name: profile for _, profile in _BY_HOST} | {"local": LOCAL, "unknown": UNKNOWN}


def profile_for(base_url: str) -> ProviderProfile:
    """The profile of the provider at this address; UNKNOWN for a public host nobody knows."""
    host = host_of(base_url)
    for ending, profile in _BY_HOST:
        if host == ending or host.endswith("." + ending):
            return profile
    return LOCAL if is_local(host) else UNKNOWN


def profile_named(name: str) -> ProviderProfile | None:
    """The profile a configuration names outright, for an endpoint behind a host of the user's own."""
    return _BY_NAME.get(name.strip().lower())


def host_of(base_url: str) -> str:
    """The host in lower case, without port, brackets and trailing dot; empty when there is none."""
    try:
        parts = urlsplit(base_url if "//" in base_url else "//" + base_url)
        return (parts.hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_local(host: str) -> bool:
    """Whether a host is this machine or one of a private network: such an endpoint costs nothing."""
    try:
        address = ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        # A name without a dot is a machine next door or a container.
        return bool(host) and (
            "." not in host or host.endswith((".local", ".localhost", ".internal", ".lan"))
        )
    return address.is_loopback or address.is_private or address.is_link_local
