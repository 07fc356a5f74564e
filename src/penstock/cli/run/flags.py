"""The options of `penstock run`, with their lines of help."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

import typer

FILES = "Files"
PROVIDER = "Provider"
LIMITS = "Limits"
MONEY = "Money"
TASKS = "How lines are run"
SHOWN = "What is done and shown"

MOST_USD = 1_000_000
"""The store counts money in 64 bits of 1e-12 dollars: sums beyond nine million do not fit."""
MOST = 10**9

Text = str | None
Texts = list[str] | None
Number = int | None
Money = Decimal | None


def _option(panel: str, help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **{"show_default": False, **more})


def _shown(panel: str, help: str, *names: str, **more: Any) -> Any:
    return _option(panel, help, *names, show_default=True, **more)


def _usd(text: str) -> Decimal:
    try:
        amount = Decimal(text.strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise typer.BadParameter(f"{text!r} is no amount of US dollars; give one such as 2.50")
    if amount > MOST_USD:
        raise typer.BadParameter(f"{text!r} is too much; the most is {MOST_USD:,} US dollars")
    return amount


def _budget(help: str, name: str) -> Any:
    return _option(MONEY, help, name, parser=_usd, metavar="USD")


_INPUT = "File of requests, one JSON object a line; - is standard input."
_OUTPUT = "File of results (default: REQUESTS with .results.jsonl)."
_ERRORS = "File of failed lines (default: the output's name with .errors.jsonl)."
_STORE = "Where the job is kept: a path, or memory (default: beside the output)."
_DURABILITY = "full survives power loss, normal a crash of the program."
_KEEP = "none forgets prompts and replies once they are in the files."
_MAX_LINE = "Longer lines are errors and are never loaded whole."

Input = Annotated[str, typer.Argument(metavar="REQUESTS", help=_INPUT)]
Output = Annotated[Text, _option(FILES, _OUTPUT, "--output", "-o")]
Errors = Annotated[Text, _option(FILES, _ERRORS, "--errors")]
Store = Annotated[Text, _option(FILES, _STORE, "--store")]
Durability = Annotated[Literal["full", "normal"], _shown(FILES, _DURABILITY, "--durability")]
Keep = Annotated[Literal["all", "none"], _shown(FILES, _KEEP, "--keep")]
MaxLineBytes = Annotated[int, _shown(FILES, _MAX_LINE, "--max-line-bytes", min=1000)]

_BASE_URL = "OpenAI-compatible address; several share the load (default: OPENAI_BASE_URL, or OpenAI's)."
_KEY_ENV = "Environment variable with the key (default: OPENAI_API_KEY); several share the load."
_MODEL = "Model of lines that name none."
_ENDPOINT = "API path of raw bodies, such as /v1/embeddings (default: guessed from their shape)."
_PROFILE = "Whose rules the provider follows, when its address does not tell: openai, groq, local..."

BaseUrl = Annotated[Texts, _option(PROVIDER, _BASE_URL, "--base-url")]
ApiKeyEnv = Annotated[Texts, _option(PROVIDER, _KEY_ENV, "--api-key-env", metavar="NAME")]
ApiKey = Annotated[Text, _option(PROVIDER, "Refused.", "--api-key", hidden=True)]
ApiKeyCookbook = Annotated[Text, _option(PROVIDER, "Of the script.", "--api_key", hidden=True)]
Model = Annotated[Text, _option(PROVIDER, _MODEL, "--model")]
Endpoint = Annotated[Text, _option(PROVIDER, _ENDPOINT, "--endpoint", metavar="PATH")]
Profile = Annotated[Text, _option(PROVIDER, _PROFILE, "--profile")]

_RPM = "Requests per minute (default: learned from the provider's headers)."
_LIMIT = "Any window: requests:500/10s, tokens:90000/m@model; repeatable."
_COUNTS = "What the provider counts against token limits: usage, or prompt plus output cap."
_RESERVE = "Reserve what replies were learned to use, or always the output cap."

Rpm = Annotated[Number, _option(LIMITS, _RPM, "--rpm", min=1, max=MOST)]
Rph = Annotated[Number, _option(LIMITS, "Requests per hour.", "--rph", min=1, max=MOST)]
Tpm = Annotated[Number, _option(LIMITS, "Tokens per minute.", "--tpm", min=1, max=MOST)]
Limit = Annotated[Texts, _option(LIMITS, _LIMIT, "--limit", metavar="WHAT")]
Concurrency = Annotated[int, _shown(LIMITS, "Calls at once.", "--concurrency", min=1, max=100_000)]
Counts = Annotated[Literal["actual", "reserved"] | None, _option(LIMITS, _COUNTS, "--counts")]
Reserve = Annotated[Literal["learned", "cap"], _shown(LIMITS, _RESERVE, "--reserve")]

Budget = Annotated[Money, _budget("At most so much in all; what goes beyond is refused.", "--budget")]
DailyBudget = Annotated[Money, _budget("At most so much a day; the rest waits.", "--daily-budget")]
HourlyBudget = Annotated[Money, _budget("At most so much an hour; the rest waits.", "--hourly-budget")]
Zone = Annotated[str, _shown(MONEY, "Time zone whose days the budgets follow.", "--zone")]
Price = Annotated[
    Texts, _option(MONEY, "USD per million tokens; repeatable.", "--price", metavar="MODEL=IN,OUT")
]

_PRIORITY = "LOW, MEDIUM, HIGH, URGENT or 0 to 100; highest first (default: MEDIUM, or the class's)."
_CLASS = "Preset of priority and deadline: immediate, scheduled, background or batch."
_SLO = "Every line's deadline, so long after it was read: 30s, 2h, 1d..."
_DEADLINE = "One deadline for all lines: 2026-01-31T18:00 (local unless it says), or 2h from now."
_STRATEGY = "What orders the waiting lines; `penstock strategy` lists all (default: as before, or priority)."
_STRATEGY_SET = "A setting of that strategy; repeatable."
_TENANT = "Whom shares and budgets of a shared store count for."
_RETRIES = "Further tries of a line whose failure may pass."
_TIMEOUT = "Longest time of one try (default: 600 s without a byte)."
_CACHE = "Answer identical requests from earlier replies that are no older: 30min, 7d..."
_MERGE = "Let identical requests in flight share one call."

Priority = Annotated[Text, _option(TASKS, _PRIORITY, "--priority")]
ServiceClass = Annotated[Text, _option(TASKS, _CLASS, "--service-class", metavar="NAME")]
Slo = Annotated[Text, _option(TASKS, _SLO, "--slo", metavar="TIME")]
Deadline = Annotated[Text, _option(TASKS, _DEADLINE, "--deadline", metavar="WHEN")]
Strategy = Annotated[Text, _option(TASKS, _STRATEGY, "--strategy", metavar="NAME")]
StrategySet = Annotated[Texts, _option(TASKS, _STRATEGY_SET, "--strategy-set", metavar="KEY=VALUE")]
Tenant = Annotated[str, _option(TASKS, _TENANT, "--tenant")]
Retries = Annotated[int, _shown(TASKS, _RETRIES, "--retries", min=0)]
Attempts = Annotated[Number, _option(TASKS, "Retries and one.", "--attempts", min=1, hidden=True)]
Timeout = Annotated[float | None, _option(TASKS, _TIMEOUT, "--timeout", min=0.001, metavar="SECONDS")]
Cache = Annotated[Text, _option(TASKS, _CACHE, "--cache", metavar="TTL")]
Merge = Annotated[bool, _option(TASKS, _MERGE, "--merge")]

_DRY_RUN = "Show tokens, cost and time; call nothing, store nothing."
_SAMPLE = "Only the first N lines; the same command without it does the rest."
_RETRY_FAILED = "Give failed lines another try; they leave the file of errors."
_RESTART = "Begin anew: overwrite the files, repeat (and pay) every line."
_KEEP_GOING = "Let lines fail even when all fail for one cause, such as a wrong key."

DryRun = Annotated[bool, _option(SHOWN, _DRY_RUN, "--dry-run")]
Sample = Annotated[Number, _option(SHOWN, _SAMPLE, "--sample", min=1, metavar="N")]
RetryFailed = Annotated[bool, _option(SHOWN, _RETRY_FAILED, "--retry-failed")]
Restart = Annotated[bool, _option(SHOWN, _RESTART, "--restart")]
KeepGoing = Annotated[bool, _option(SHOWN, _KEEP_GOING, "--keep-going")]
Quiet = Annotated[bool, _option(SHOWN, "Show nothing but errors.", "--quiet", "-q")]
Json = Annotated[bool, _option(SHOWN, "JSON lines on standard output, for machines.", "--json")]
