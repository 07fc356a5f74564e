"""The command line of `penstock run`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import typer
from typer.core import TyperCommand

from penstock.cli.exit_codes import EXPLANATION, ExitCode
from penstock.cli.run import flags
from penstock.errors import ConfigurationError

_KEY_REFUSED = (
    "a key on the command line can be read by every user of this machine and stays in the shell's "
    "history; put it into "
    "the environment variable OPENAI_API_KEY, or name another one with --api-key-env"
)


_HELP = """Send every request of a file to a model, durably and at the provider's limit.

Every line ends in exactly one of two files, results or errors. The same command again continues where it
stopped, after Ctrl-C as after a crash, and pays for nothing twice.
"""


class RunCommand(TyperCommand):
    """Takes the flag names of the cookbook script too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        from penstock.cli.run.cookbook import translate

        ours, notes = translate(args)
        for note in notes:
            print(f"penstock: {note}", file=sys.stderr)
        return super().parse_args(ctx, ours)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command("run", cls=RunCommand, help=_HELP, epilog=EXPLANATION)
def run(
    input: flags.Input,
    output: flags.Output = None,
    errors: flags.Errors = None,
    store: flags.Store = None,
    durability: flags.Durability = "full",
    keep: flags.Keep = "all",
    max_line_bytes: flags.MaxLineBytes = 50_000_000,
    base_url: flags.BaseUrl = None,
    api_key_env: flags.ApiKeyEnv = None,
    api_key: flags.ApiKey = None,
    api_key_cookbook: flags.ApiKeyCookbook = None,
    model: flags.Model = None,
    endpoint: flags.Endpoint = None,
    profile: flags.Profile = None,
    rpm: flags.Rpm = None,
    rph: flags.Rph = None,
    tpm: flags.Tpm = None,
    limit: flags.Limit = None,
    concurrency: flags.Concurrency = 100,
    counts: flags.Counts = None,
    reserve: flags.Reserve = "learned",
    budget: flags.Budget = None,
    daily_budget: flags.DailyBudget = None,
    hourly_budget: flags.HourlyBudget = None,
    zone: flags.Zone = "UTC",
    price: flags.Price = None,
    priority: flags.Priority = None,
    service_class: flags.ServiceClass = None,
    slo: flags.Slo = None,
    deadline: flags.Deadline = None,
    tenant: flags.Tenant = "",
    strategy: flags.Strategy = None,
    strategy_set: flags.StrategySet = None,
    retries: flags.Retries = 5,
    attempts: flags.Attempts = None,
    timeout: flags.Timeout = None,
    cache: flags.Cache = None,
    merge: flags.Merge = False,
    dry_run: flags.DryRun = False,
    sample: flags.Sample = None,
    retry_failed: flags.RetryFailed = False,
    restart: flags.Restart = False,
    keep_going: flags.KeepGoing = False,
    quiet: flags.Quiet = False,
    json: flags.Json = False,
) -> None:
    """Run one job; exits with its code."""
    raise typer.Exit(_run(dict(locals())))


def _run(given: dict[str, Any]) -> int:
    from penstock.cli.run.options import RunOptions

    if given.pop("api_key") is not None:
        raise ConfigurationError(f"--api-key is not taken: {_KEY_REFUSED}")
    given["api_key"] = given.pop("api_key_cookbook")
    if given["api_key"] is not None:
        print(f"penstock: --api_key is taken for once, but {_KEY_REFUSED}", file=sys.stderr)
    tries = given.pop("attempts")
    if tries is not None:
        given["retries"] = tries - 1
    for name in ("base_url", "api_key_env", "limit", "price", "strategy_set"):
        given[name] = tuple(given[name] or ())
    if given["output"] is None:
        given["output"] = _default_output(given["input"])
    options = RunOptions(**given)
    return _plan(options) if options.dry_run else _job(options)


def _default_output(input: str) -> str:
    if input == "-":
        raise ConfigurationError("standard input has no name to derive one from; name the results with -o")
    return input.removesuffix(".jsonl") + ".results.jsonl"


def _job(options: Any) -> int:
    from penstock.cli.run.job import run_job
    from penstock.cli.run.progress import progress_for

    progress = progress_for(options.quiet, options.json)
    try:
        outcome = asyncio.run(run_job(options, progress))
        progress.end(outcome)
    finally:
        progress.close()
    return int(outcome.code)


def _plan(options: Any) -> int:
    from penstock.cli.run.options import check_paths
    from penstock.cli.run.plan import make_plan, plan_text
    from penstock.cli.run.progress import progress_for
    from penstock.cli.run.wiring import settings_of

    settings = settings_of(options)
    check_paths(options)
    plan = make_plan(options, settings, progress_for(quiet=True, machine=False))
    print(plan.as_json() if options.json else plan_text(plan))
    return int(ExitCode.OK)
