"""Market research: a goal in words becomes a plan, the plan a workflow, and that a report with charts.

    python market_research.py --output report

Without OPENAI_API_KEY, or with --simulated, the answers come from a file: nothing is paid. Kill it at any
point and start it again: it goes on where it was, and no answer that was recorded is paid for again.
"""

import argparse
import asyncio
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from describe_statistics import describe
from market_research_parts.charts import draw
from market_research_parts.page import as_html, table

from penstock import AITaskManager, APIConfig, OpenAICompatibleClient, TaskConfig, TaskContext
from penstock.simulator import Script, SimulatorConfig, SimulatorThread

PARTS = Path(__file__).parent / "market_research_parts"
GOAL = "A report on the market of e-bikes in Europe: size, trend, competitors, chances of a newcomer"
INSTRUCTIONS = (
    "Take every figure from the data that the tools give, and name its unit. Charts are files in the folder "
    "of the report: show each where it belongs, as ![its title](its file). Compare companies in tables."
)

MADE = ["Subtask", "What", "Done by", "Needs", "Seconds", "USD"]


def market_data() -> dict[str, Any]:
    """What is known of the market: `sizes` (billion EUR by year), `segments` (per cent), and `sources`."""
    # Put a real data service in its place.
    return json.loads((PARTS / "data.json").read_text(encoding="utf-8"))["market"]


def competitor_data() -> dict[str, Any]:
    """What is known of competitors: `shares` (per cent of revenue), `prices` (median, EUR), `notes`, and
    `sources`."""
    return json.loads((PARTS / "data.json").read_text(encoding="utf-8"))["competitors"]


class Charts:
    """Draws charts into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def draw_chart(
        self,
        context: TaskContext,
        title: str,
        values: dict[str, float],
        unit: str,
        kind: Literal["bars", "line"] = "bars",
    ) -> dict[str, str]:
        """Draw a chart of numbers by name (such as "${id/sizes}"); gives its `title` and `file`. A line is
        for years."""
        file = "-".join("".join(one if one.isalnum() else " " for one in title.lower()).split()) + ".png"
        # A step: once it is recorded, the file is there, and is not drawn again after a crash.
        await context.step("draw", draw, self.folder / file, kind, title, values, unit, key=file)
        return {"title": title, "file": file}


def register(manager: AITaskManager, folder: Path) -> list[str]:
    """The tools that the plan may use."""
    for function in (market_data, competitor_data, Charts(folder).draw_chart):
        manager.tool(function)
    return ["market_data", "competitor_data", "draw_chart"]


def write(folder: Path, found: dict[str, Any], made: list[list[object]]) -> None:
    """Write report.md and report.html: what the model wrote, all charts, the sources, and how it was made."""
    text = found["report"].strip()
    results = [one for one in found["results"].values() if isinstance(one, dict)]
    charts = [one for one in results if "file" in one and f"({one['file']})" not in text]
    if charts:
        text += "\n\n## Charts\n\n" + "\n\n".join(f"![{one['title']}]({one['file']})" for one in charts)
    sources = [one for result in results for one in result.get("sources", ())]
    rows: list[list[object]] = [
        [n, one["title"], one["from"], one["year"]] for n, one in enumerate(sources, 1)
    ]
    text += "\n\n## Sources\n\n" + table(["", "What", "From", "Year"], rows)
    text += "\n\n## How this report was made\n\n" + table(MADE, made)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(text + "\n", encoding="utf-8")
    (folder / "report.html").write_text(as_html(text, folder), encoding="utf-8")


async def research(manager: AITaskManager, goal: str, folder: Path) -> dict[str, Any]:
    """Plan, run, and write the report; what the GOAL task gave."""
    tools = register(manager, folder)
    # The same key gives the same task: a second start goes on with the first.
    config = TaskConfig(timeout=None, idempotency_key=f"{goal} in {folder}")
    run = await manager.pursue(goal, tools=tools, instructions=INSTRUCTIONS, config=config)
    found = await run.result(timeout=1800)
    workflow = run.workflow()
    analysis = await workflow.analysis() if workflow else None
    took = {one.id: f"{one.run_seconds:.2f}" for one in analysis.nodes} if analysis else {}
    cost = {one.id: f"{one.cost:.6f}" for one in analysis.nodes} if analysis else {}
    made: list[list[object]] = []
    for one in found["plan"]["subtasks"]:
        id, needs = one["id"], ", ".join(one["dependencies"]) or "–"
        made.append([id, one["name"], one.get("tool", "model"), needs, took.get(id, ""), cost.get(id, "")])
    write(folder, found, made)
    return found


def simulator() -> SimulatorThread:
    """Answers from a file, at an address of this machine."""
    replies = json.loads((PARTS / "replies.json").read_text(encoding="utf-8"))
    return SimulatorThread(SimulatorConfig(scripts=tuple(Script(**one) for one in replies)))


async def main() -> None:
    words = argparse.ArgumentParser(description="Market research, planned and written by a model.")
    words.add_argument("--goal", default=GOAL, help="what the report is to be about")
    words.add_argument("--output", type=Path, default=Path("market-report"), help="the folder of the report")
    words.add_argument("--simulated", action="store_true", help="take the answers from a file")
    words.add_argument("--budget", type=float, default=1.0, help="US dollars at most")
    given = words.parse_args()
    folder = given.output.resolve()
    with ExitStack() as stack:
        client = None
        if given.simulated or not os.environ.get("OPENAI_API_KEY"):
            print("The answers are simulated; nothing is paid.")
            address = stack.enter_context(simulator()).base_url
            client = OpenAICompatibleClient(APIConfig(api_key="none", base_url=address))
        async with AITaskManager(client, requests_per_minute=600, budget_limit=given.budget) as manager:
            found = await research(manager, given.goal, folder)
            for number, round in enumerate(found["rounds"], start=1):
                print(f"round {number}: {', '.join(round)}")
            print(f"the report is {folder / 'report.html'}")
            print(describe(manager.get_statistics()))


if __name__ == "__main__":
    asyncio.run(main())
