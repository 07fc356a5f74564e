"""`penstock lab`: replay a trace in virtual time under several strategies, limits and loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.show_text import print_json
from penstock.errors import ConfigurationError
from penstock.lab import RateSetup, ServiceModel, Setup, Study, Trace, read_trace, run_study, write_trace
from penstock.lab.classes import Fill, filled
from penstock.lab.generate import generate as make_trace
from penstock.lab.generate import read_recipe
from penstock.lab.provider import KINDS
from penstock.lab.report import data_report, text_report
from penstock.lab.service import LEAST_FACTOR, stretched
from penstock.lab.setup import UNITS
from penstock.lab.traces import writable
from penstock.policies import policy_names

DEFAULT_POLICIES = "fifo,priority,shortest_job_first,shortest_remaining,deadline,fair"
DEFAULT_PROGRAM_POLICIES = "fifo,program_fifo,least_attained,shortest_program"


def _option(panel: str, *names: str, **details: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, **details)


TraceFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="TRACE",
        help="CSV or JSON Lines with arrival_s, prompt_tokens, output_tokens, and more if you have it.",
        show_default=False,
    ),
]
Policies = Annotated[
    str | None,
    typer.Option(
        "--policies",
        "-p",
        metavar="NAME,...",
        help="Strategies, such as fifo,shortest_job_first:ageing=0,fair:inside=fifo. "
        f"There is {', '.join(policy_names())}.",
        show_default=False,
    ),
]
Load = Annotated[
    str | None,
    typer.Option(
        "--load",
        metavar="SHARE,...",
        help="Stretch arrivals so that service takes this share of the slots; by default as they came.",
    ),
]
Slots = Annotated[int, typer.Option("--slots", min=1, help="Requests served at once.")]
Seed = Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")]
Tpm = Annotated[int | None, _option("Limits", "--tpm", min=1, help="Tokens per minute.")]
Rpm = Annotated[int | None, _option("Limits", "--rpm", min=1, help="Requests per minute.")]
Provider = Annotated[
    str, _option("Limits", "--provider", help="How the provider counts: sliding, fixed or bucket.")
]
Speed = Annotated[
    float, _option("Model", "--speed", help="Let requests arrive so many times as fast as they did.")
]
Unit = Annotated[
    str | None,
    _option(
        "Model",
        "--unit",
        metavar="|".join(UNITS),
        help="What sizes are measured in; by default tokens under --tpm, else seconds.",
    ),
]
StepTokens = Annotated[
    int | None,
    _option(
        "Model",
        "--step-tokens",
        min=0,
        help="Output tokens of a step, after which a slot may be taken away; 0: a request is one step "
        "(the default for programs and under limits), else 64.",
    ),
]
Service = Annotated[
    str,
    _option(
        "Model", "--service", metavar="A,B,C", help="Seconds per request, per prompt and per output token."
    ),
]
Noise = Annotated[
    float, _option("Model", "--noise", min=0, help="How wrong estimates are: deviation of the logarithm.")
]
Plain = Annotated[
    bool, _option("Model", "--plain", help="Draw no classes, deadlines and tenants where the trace has none.")
]
Generate = Annotated[
    str | None,
    _option(
        "Other sources",
        "--generate",
        metavar="NAME=VALUE,...",
        help="Make a trace instead, such as requests=2000,rate=2,tenants=5 or programs=dags,calls=8.",
    ),
]
StorePath = Annotated[
    str | None, _option("Other sources", "--store", metavar="PATH", help="Replay what a store has completed.")
]
Save = Annotated[
    Path | None, _option("Results", "--save", metavar="PATH", help="Write the trace too (.csv or .jsonl).")
]
Json = Annotated[bool, _option("Results", "--json", help="Print one JSON document for machines.")]
Html = Annotated[
    Path | None, _option("Results", "--html", metavar="PATH", help="Write one self-contained page.")
]
Png = Annotated[Path | None, _option("Results", "--png", metavar="PATH", help="Write a picture.")]


def lab(
    trace: TraceFile = None,
    policies: Policies = None,
    load: Load = None,
    slots: Slots = 8,
    seed: Seed = 0,
    tpm: Tpm = None,
    rpm: Rpm = None,
    provider: Provider = "sliding",
    speed: Speed = 1.0,
    unit: Unit = None,
    step_tokens: StepTokens = None,
    service: Service = "0.2,0.0002,0.02",
    noise: Noise = 0.0,
    plain: Plain = False,
    generate: Generate = None,
    store: StorePath = None,
    save: Save = None,
    json: Json = False,
    html: Html = None,
    png: Png = None,
) -> None:
    """Replay a trace in virtual time: what each strategy would have done with it."""
    _writable(save, html, png)
    if provider not in KINDS:
        raise ConfigurationError(f"--provider {provider!r} is unknown: choose one of {', '.join(KINDS)}")
    if not LEAST_FACTOR <= speed <= 1 / LEAST_FACTOR:
        raise ConfigurationError(f"--speed {speed:g}: give a number above 0, such as 2 or 0.5")
    source = _source(trace, generate, store, seed)
    if save is not None:
        write_trace(source, save)
    if speed != 1.0:
        source = stretched(source, 1.0 / speed)
    played = source if plain else filled(source, Fill(seed, noise_sigma=noise))
    whole = step_tokens == 0 or (step_tokens is None and (source.has_programs or bool(tpm or rpm)))
    model = replace(_service(service), step_tokens=None if whole else step_tokens or 64)
    setup = Setup(slots, model, unit or ("tokens" if tpm else "seconds"))  # type: ignore[arg-type]
    rates = RateSetup(tokens=tpm, requests=rpm, kind=provider, seed=seed) if tpm or rpm else None
    names = policies or (DEFAULT_PROGRAM_POLICIES if source.has_programs else DEFAULT_POLICIES)
    study = run_study(played, _names(names), _numbers("--load", load or ""), setup, rates)
    _show(study, json, html, png)


def _source(trace: Path | None, generate: str | None, store: str | None, seed: int) -> Trace:
    if (trace is not None) + (generate is not None) + (store is not None) != 1:
        raise ConfigurationError("name one source: a TRACE file, --generate NAME=VALUE,... or --store PATH")
    if trace is not None:
        return read_trace(trace)
    if generate is not None:
        return make_trace(read_recipe(generate, seed))
    from penstock.cli.stores import reading
    from penstock.lab.export import history

    with reading(store) as opened:
        return history(opened, Path(store or "").name)


def _writable(save: Path | None, html: Path | None, png: Path | None) -> None:
    """What cannot be written is told before the replays, not after them."""
    for path in (save, html, png):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise ConfigurationError(f"{path} cannot be written: name a file in a folder that is there")
    if save is not None:
        writable(save)
    if png is not None:
        from penstock.lab.plots import drawing

        drawing()


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ConfigurationError(f"{option} {text!r}: give numbers such as 0.7,0.9,1.1") from None


def _service(text: str) -> ServiceModel:
    parts = _numbers("--service", text)
    if len(parts) != 3:
        raise ConfigurationError(f"--service {text!r} is not A,B,C; give seconds such as 0.2,0.0002,0.02")
    return ServiceModel(parts[0], parts[1], parts[2])


def _show(study: Study, json: bool, html: Path | None, png: Path | None) -> None:
    if html is not None:
        from penstock.lab.page import html_page

        html.write_text(html_page(study), encoding="utf-8")
    if png is not None:
        from penstock.lab.plots import write_png

        write_png(study, png)
    if json:
        print_json(data_report(study))
        return
    for line in text_report(study):
        typer.echo(line)
    for path in (html, png):
        if path is not None:
            typer.echo(f"wrote {path}")
