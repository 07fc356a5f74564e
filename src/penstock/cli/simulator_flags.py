"""The options of `penstock simulator`: one for every field of `SimulatorConfig`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.simulator.config import FAULT_NAMES, Counting, WindowKind


def _limit(*names: str, **details: Any) -> Any:
    return typer.Option(*names, rich_help_panel="Limits", **details)


def _reply(*names: str, **details: Any) -> Any:
    return typer.Option(*names, rich_help_panel="Replies", **details)


def _fault(*names: str, **details: Any) -> Any:
    return typer.Option(*names, rich_help_panel="Faults", **details)


Host = Annotated[str, typer.Option("--host", help="Address to listen at.")]
Port = Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0 takes a free one.")]
Key = Annotated[str | None, typer.Option("--key", help="The only API key accepted; any by default.")]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="NAME", help="Models known, repeatable; any by default."),
]
Seed = Annotated[int, typer.Option("--seed", help="Equal seeds give equal replies and faults.")]
JsonLine = Annotated[bool, typer.Option("--json", help="Print one line of JSON when it listens.")]

Requests = Annotated[int | None, _limit("--requests", "--rpm", help="Requests a window may hold.")]
Tokens = Annotated[int | None, _limit("--tokens", "--tpm", help="Tokens a window may hold.")]
Window = Annotated[float, _limit("--window", help="Its length in seconds.")]
Kind = Annotated[WindowKind, _limit("--kind", help="How it moves.")]
Counts = Annotated[Counting, _limit("--counting", help="True usage, or the output cap at once.")]
Phase = Annotated[float, _limit("--phase", help="Seconds a fixed window began before the first call.")]
Uncapped = Annotated[int, _limit("--uncapped-reserve", help="Stands for an output cap that is not given.")]
LimitsFor = Annotated[
    list[str] | None,
    _limit("--limits-for", metavar="MODEL=REQUESTS:TOKENS", help="A model's own; repeatable."),
]

Seconds = Annotated[str, _reply("--latency", metavar="A,B,C", help="Seconds: A + B*input + C*output tokens.")]
OutputMean = Annotated[float, _reply("--output", help="Output tokens, on average.")]
OutputSigma = Annotated[float, _reply("--output-sigma", help="Their spread (lognormal).")]
OutputMax = Annotated[int, _reply("--output-max", help="Most of them.")]
Scripts = Annotated[
    Path | None,
    _reply("--scripts", help="JSON file: a list of {pattern, reply, tool, tool_arguments, once}."),
]
Dimensions = Annotated[int, _reply("--dimensions", help="Of embeddings.")]
Chunk = Annotated[int, _reply("--chunk", help="Tokens in a chunk of a stream.")]

Chances = Annotated[
    list[str] | None, _fault("--fault", metavar="NAME=CHANCE", help=f"Repeatable: {', '.join(FAULT_NAMES)}.")
]
Burst = Annotated[float, _fault("--burst", help="Seconds that a burst of 429 lasts.")]
SlowStart = Annotated[float, _fault("--slow-start", help="Seconds it is slow at first.")]
SlowFactor = Annotated[float, _fault("--slow-factor", help="How many times slower it is then.")]
ErrorsCount = Annotated[bool, _fault("--errors-count", help="Failed calls use up limits too.")]
