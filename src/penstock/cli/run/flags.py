"""The options of `penstock run`, one line of its help each."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

import typer

FILES, PROVIDER, LIMITS, MONEY, TASKS, SHOWN = (
    "Files",
    "Provider",
    "Limits",
    "Money",
    "How lines are run",
    "What is done and shown",
)


def _option(*names: str, help: str, panel: str, **more: Any) -> Any:
    return typer.Option(
        *names, help=help, rich_help_panel=panel, show_default=more.pop("show_default", False), **more
    )


def _usd(text: str) -> Decimal:
    try:
        amount = Decimal(text.strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise typer.BadParameter(f"{text!r} is no amount of US dollars; give one such as 2.50")
    return amount


Text = str | None
Money = Decimal | None


Input = Annotated[
    str,
    typer.Argument(metavar="REQUESTS", help="File of requests, one JSON object a line; - is standard input."),
]
Output = Annotated[
    Text,
    _option("--output", "-o", help="File of results (default: REQUESTS with .results.jsonl).", panel=FILES),
]
Errors = Annotated[
    Text,
    _option(
        "--errors", help="File of failed lines (default: the output's name with .errors.jsonl).", panel=FILES
    ),
]
Store = Annotated[
    Text,
    _option(
        "--store", help="Where the job is kept: a path, or memory (default: beside the output).", panel=FILES
    ),
]
Durability = Annotated[
    Literal["full", "normal"],
    _option(
        "--durability",
        help="full survives power loss, normal survives a crash of the program.",
        panel=FILES,
        show_default=True,
    ),
]
Keep = Annotated[
    Literal["all", "none"],
    _option(
        "--keep",
        help="none forgets prompts and replies once they are in the files.",
        panel=FILES,
        show_default=True,
    ),
]
MaxLineBytes = Annotated[
    int,
    _option(
        "--max-line-bytes",
        min=1000,
        help="Longer lines are errors and are never loaded whole.",
        panel=FILES,
        show_default=True,
    ),
]
BaseUrl = Annotated[
    list[str] | None,
    _option(
        "--base-url",
        help="OpenAI-compatible address; several share the load (default: OPENAI_BASE_URL, or OpenAI's).",
        panel=PROVIDER,
    ),
]
ApiKeyEnv = Annotated[
    list[str] | None,
    _option(
        "--api-key-env",
        metavar="NAME",
        help="Environment variable with the key (default: OPENAI_API_KEY); several share the load.",
        panel=PROVIDER,
    ),
]
ApiKey = Annotated[Text, _option("--api-key", hidden=True, help="Refused.", panel=PROVIDER)]
ApiKeyCookbook = Annotated[
    Text, _option("--api_key", hidden=True, help="Of the cookbook script.", panel=PROVIDER)
]
Model = Annotated[Text, _option("--model", help="Model of lines that name none.", panel=PROVIDER)]
Endpoint = Annotated[
    Text,
    _option(
        "--endpoint",
        metavar="PATH",
        help="API path of raw bodies, such as /v1/embeddings (default: guessed from their shape).",
        panel=PROVIDER,
    ),
]
Profile = Annotated[
    Text,
    _option(
        "--profile",
        help="Whose rules the provider follows, when its address does not tell: openai, anthropic, groq,
        local...", panel=PROVIDER, ), ] Rpm = Annotated[ int | None, _option( "--rpm", min=1, help="Requests
        per minute (default: learned from the provider's headers).", panel=LIMITS, ), ] Rph = Annotated[int |
        None, _option("--rph", min=1, help="Requests per hour.", panel=LIMITS)] Tpm = Annotated[int | None,
        _option("--tpm", min=1, help="Tokens per minute.", panel=LIMITS)] Limit = Annotated[ list[str] | None,
        _option( "--limit", metavar="WHAT", help="Any window: requests:500/10s, tokens:90000/m@model;
        repeatable.", panel=LIMITS, ), ] Concurrency = Annotated[ int, _option("--concurrency", min=1,
        max=100_000, help="Calls at once.", panel=LIMITS, show_default=True) ] Counts = Annotated[
        Literal["actual", "reserved"] | None, _option( "--counts", help="What the provider counts against
        token limits: usage, or prompt plus output cap.", panel=LIMITS, ), ] Reserve = Annotated[
        Literal["learned", "cap"], _option( "--reserve", help="Reserve what replies were learned to use, or
        always the output cap.", panel=LIMITS, show_default=True, ), ] Budget = Annotated[ Money, _option(
        "--budget", parser=_usd, metavar="USD", help="At most so much in all; what goes beyond is refused.",
        panel=MONEY, ), ] DailyBudget = Annotated[ Money, _option( "--daily-budget", parser=_usd,
        metavar="USD", help="At most so much a day; the rest waits.", panel=MONEY, ), ] HourlyBudget =
        Annotated[ Money, _option( "--hourly-budget", parser=_usd, metavar="USD", help="At most so much an
        hour; the rest waits.", panel=MONEY, ), ] Zone = Annotated[ str, _option("--zone", help="Time zone
        whose days the budgets follow.", panel=MONEY, show_default=True) ] Price = Annotated[ list[str] |
        None, _option( "--price", metavar="MODEL=IN,OUT", help="Price in USD per million tokens; repeatable.",
        panel=MONEY ), ] Priority = Annotated[ str, _option( "--priority", help="LOW, MEDIUM, HIGH, URGENT or
        0 to 100; highest first.", panel=TASKS, show_default=True, ), ] Tenant = Annotated[ str,
        _option("--tenant", help="Whom shares and budgets of a shared store count for.", panel=TASKS) ]
        Retries = Annotated[ int, _option( "--retries", min=0, help="Further tries of a line whose failure may
        pass.", panel=TASKS, show_default=True, ), ] Attempts = Annotated[ int | None, _option("--attempts",
        min=1, hidden=True, help="Retries and one.", panel=TASKS) ] Timeout = Annotated[ float | None,
        _option( "--timeout", min=0.001, metavar="SECONDS", help="Longest time of one try (default: 600 s
        without a byte).", panel=TASKS, ), ] Cache = Annotated[ Text, _option( "--cache", metavar="TTL",
        help="Answer identical requests from earlier replies: 30min, 7d...", panel=TASKS, ), ] Merge =
        Annotated[ bool, _option("--merge", help="Let identical requests in flight share one call.",
        panel=TASKS) ] DryRun = Annotated[ bool, _option("--dry-run", help="Show tokens, cost and time; call
        nothing, store nothing.", panel=SHOWN) ] Sample = Annotated[ int | None, _option( "--sample", min=1,
        metavar="N", help="Only the first N lines; the same command without it does the rest.", panel=SHOWN,
        ), ] RetryFailed = Annotated[ bool, _option( "--retry-failed", help="Give failed lines another try;
        they leave the file of errors.", panel=SHOWN ), ] Restart = Annotated[ bool, _option("--restart",
        help="Begin anew: overwrite the files, repeat (and pay) every line.", panel=SHOWN), ] KeepGoing =
        Annotated[ bool, _option( "--keep-going", help="Let lines fail even when all fail for one cause, such
        as a wrong key.", panel=SHOWN, ), ] Quiet = Annotated[bool, _option("--quiet", "-q", help="Show
        nothing but errors.", panel=SHOWN)] Json = Annotated[bool, _option("--json", help="JSON lines on
        standard output, for machines.", panel=SHOWN)]