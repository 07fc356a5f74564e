"""`penstock simulator`: a provider to try and measure against, on a port."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from penstock.cli import simulator_flags as flags
from penstock.cli.show_text import heading
from penstock.errors import ConfigurationError
from penstock.simulator.config import (
    FAULT_NAMES,
    Faults,
    Latency,
    Limits,
    Output,
    Script,
    SimulatorConfig,
)

READY = """\
{title}
  base URL     {base_url}
  try it       penstock run requests.jsonl -o results.jsonl --base-url {base_url}
  any SDK      export OPENAI_BASE_URL={base_url} OPENAI_API_KEY={key}
  Anthropic    export ANTHROPIC_BASE_URL={root_url} ANTHROPIC_API_KEY={key}
  statistics   {root_url}/simulator/stats
It is for trying and measuring only; Ctrl-C stops it."""


def simulator(
    host: flags.Host = "127.0.0.1",
    port: flags.Port = 8080,
    key: flags.Key = None,
    model: flags.Models = None,
    seed: flags.Seed = 0,
    requests: flags.Requests = None,
    tokens: flags.Tokens = None,
    window: flags.Window = 60.0,
    kind: flags.Kind = "bucket",
    counting: flags.Counts = "actual",
    phase: flags.Phase = 0.0,
    uncapped_reserve: flags.Uncapped = 2048,
    limits_for: flags.LimitsFor = None,
    latency: flags.Seconds = "0,0,0",
    output: flags.OutputMean = 64,
    output_sigma: flags.OutputSigma = 0.0,
    output_max: flags.OutputMax = 4096,
    scripts: flags.Scripts = None,
    dimensions: flags.Dimensions = 256,
    chunk: flags.Chunk = 8,
    fault: flags.Chances = None,
    burst: flags.Burst = 2.0,
    slow_start: flags.SlowStart = 0.0,
    slow_factor: flags.SlowFactor = 10.0,
    errors_count: flags.ErrorsCount = False,
    json: flags.JsonLine = False,
) -> None:
    """Serve a simulated provider (OpenAI and Anthropic wire formats), to try and measure without a key."""
    with _named_values():
        limits = Limits(requests, tokens, window, kind, counting, phase, uncapped_reserve)
        config = SimulatorConfig(
            seed,
            _latency(latency),
            limits,
            _limits_by_model(limits_for or (), limits),
            Output(output, output_sigma, output_max),
            Faults(
                **_chances(fault or ()),
                **_slowness(burst, slow_start, slow_factor),
                errors_count=errors_count,
            ),
            _scripts(scripts),
            tuple(model or ()),
            key,
            dimensions,
            chunk,
        )
    _serve(config, host, port, json)


@contextmanager
def _named_values() -> Iterator[None]:
    """The configuration's own complaints name field and bounds; they are for the user."""
    try:
        yield
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _slowness(burst: float, start: float, factor: float) -> dict[str, float]:
    return {"burst_seconds": burst, "slow_start_seconds": start, "slow_start_factor": factor}


def _latency(text: str) -> Latency:
    """A, B and C; what is left out is 0."""
    try:
        parts = [float(part) for part in text.split(",")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3:
        raise ConfigurationError(f"--latency {text!r} is not A,B,C; give seconds such as 0.2 or 0.2,0,0.01")
    return Latency(*parts)


def _limits_by_model(texts: Sequence[str], limits: Limits) -> dict[str, Limits]:
    found = {}
    for text in texts:
        model, _, amounts = text.rpartition("=")
        requests, _, tokens = amounts.partition(":")
        if not model or not all(part == "" or part.isdecimal() for part in (requests, tokens)):
            raise ConfigurationError(
                f"--limits-for {text!r} is not MODEL=REQUESTS:TOKENS; "
                "give one such as big-model=60:10000 or big-model=60:"
            )
        own = (int(requests) if requests else None, int(tokens) if tokens else None)
        found[model] = replace(limits, requests_per_window=own[0], tokens_per_window=own[1])
    return found


def _chances(texts: Sequence[str]) -> dict[str, Any]:
    chances: dict[str, Any] = {}
    for text in texts:
        name, _, chance = text.partition("=")
        try:
            chances[name] = float(chance)
        except ValueError:
            name = ""
        if name not in FAULT_NAMES:
            raise ConfigurationError(
                f"--fault {text!r} is not NAME=CHANCE; give one such as hang=0.01 of {', '.join(FAULT_NAMES)}"
            )
    return chances


def _scripts(path: Path | None) -> tuple[Script, ...]:
    if path is None:
        return ()
    try:
        entries = jsonlib.loads(path.read_text(encoding="utf-8"))
        return tuple(Script(**entry) for entry in entries)
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"--scripts {path} is no UTF-8 text: {error}") from None
    except jsonlib.JSONDecodeError as error:
        raise ConfigurationError(f"--scripts {path} is no JSON: {error}") from None
    except TypeError:
        raise ConfigurationError(
            f'--scripts {path} is no list such as [{{"pattern": "capital of", "reply": "It is Paris."}}]; '
            "fields are pattern, reply, tool and tool_arguments"
        ) from None


def _serve(config: SimulatorConfig, host: str, port: int, json: bool) -> None:
    from penstock.simulator.server import serve

    def ready(base_url: str) -> None:
        root = base_url.removesuffix("/v1")
        if json:
            typer.echo(jsonlib.dumps({"base_url": base_url, "stats_url": f"{root}/simulator/stats"}))
            return
        title = heading("The simulated provider is ready.")
        typer.echo(READY.format(title=title, base_url=base_url, root_url=root, key=config.api_key or "any"))

    try:
        serve(config, host, port, ready)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigurationError(
            f"cannot listen at {host} port {port}: {reason}; name another with --port (0 takes a free one)"
        ) from None
