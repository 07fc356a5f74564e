"""A plan as people read it: what runs side by side, what waits for what, and what it will take."""

from __future__ import annotations

from typing import Any

from penstock.cli.run.summary import duration
from penstock.cli.show_text import counted, heading, money, number, table
from penstock.model.usage import to_pico
from penstock.workflows.plans import Plan, PlanEstimate, Subtask

_LONGEST = 60


def plan_text(plan: Plan) -> str:
    """The plan as a table, layer by layer, and its estimate."""
    critical = {one.id for one in plan.critical_path()}
    rows = [
        _row(one, depth if place == 0 else None, one.id in critical)
        for depth, layer in enumerate(plan.layers(), start=1)
        for place, one in enumerate(layer)
    ]
    titles = ("", "id", "subtask", "done by", "needs", "time")
    lines = [heading(f"Plan: {_short(plan.goal, 100)}"), "", *table(titles, rows, right=(5,)), ""]
    lines.append("Subtasks with the same number run side by side; * is the longest chain.")
    if plan.mended:
        lines.append(f"{counted(len(plan.mended), 'slip')} of the model were put right:")
        lines += [f"  {one}" for one in plan.mended]
    if plan.estimate is not None:
        lines += ["", *estimate_lines(plan, plan.estimate)]
    return "\n".join(lines)


def estimate_lines(plan: Plan, estimate: PlanEstimate) -> list[str]:
    """What running it will probably take."""
    chain = " → ".join([*(one.id for one in plan.critical_path()), "report"])
    tokens = f"{number(estimate.input_tokens)} tokens in, {number(estimate.output_tokens)} out"
    return [
        f"calls:  {counted(estimate.calls, 'model call')} with the report, about {tokens}",
        f"cost:   {cost_words(estimate)}; tools, repeated tries and further planning not counted",
        f"time:   about {duration(estimate.seconds)} along {chain}, where no limit makes it wait",
    ]


def cost_words(estimate: PlanEstimate) -> str:
    """Its cost, or that nobody knows it."""
    if estimate.cost is None:
        return "unknown: the model has no known price"
    return f"about {money(to_pico(estimate.cost))}" if estimate.cost else "free"


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """The plan for machines; also what `--plan` takes."""
    known = plan.estimate
    estimate = None
    if known is not None:
        estimate = {
            "calls": known.calls,
            "input_tokens": known.input_tokens,
            "output_tokens": known.output_tokens,
            "cost": None if known.cost is None else float(known.cost),
            "seconds": known.seconds,
        }
    return {
        "goal": plan.goal,
        "plan": plan.as_dict(),
        "layers": [[one.id for one in layer] for layer in plan.layers()],
        "critical_path": [one.id for one in plan.critical_path()],
        "mended": list(plan.mended),
        "estimate": estimate,
    }


def _row(one: Subtask, depth: int | None, critical: bool) -> tuple[str, ...]:
    return (
        ("" if depth is None else str(depth)).rjust(2) + (" *" if critical else "  "),
        one.id,
        _short(one.name, _LONGEST),
        one.tool or "model",
        ", ".join(one.dependencies) or "-",
        duration(one.estimated_time),
    )


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 3].rstrip()}..."
