"""The reference of the task manager names all there is."""

import re
from dataclasses import fields
from pathlib import Path

from penstock import AITask, AITaskManager, APIConfig, TaskConfig, TaskMetrics, TaskType
from penstock.manager.setup import Setup

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
# Open to the parts of the manager, not meant for users.
INNER = {"add_function", "open_client", "close_client", "engine"}


def words(page):
    code = re.findall(r"`([^`]+)`", (REFERENCE / page).read_text(encoding="utf-8"))
    return set(re.findall(r"\w+", " ".join(code)))


def names(kind):
    return {field.name for field in fields(kind)}


def test_every_call_and_setting_is_described():
    calls = {name for name in dir(AITaskManager) if not name.startswith("_")} - INNER
    wanted = calls | names(Setup) - {"clients", "more"} | names(TaskConfig) | names(APIConfig)
    assert wanted - words("task-manager.md") == set()


async def test_every_figure_is_described(tmp_path):
    async with AITaskManager(store="memory") as manager:
        statistics = manager.get_statistics()
        wanted = set(manager.get_queue_status()) | names(AITask) | names(TaskMetrics)
        for part, figures in statistics.items():
            told = figures if isinstance(figures, dict) else {}
            wanted |= {part, *told}
    assert wanted | {"current", "limit", "cost", "remaining", "percentage"} <= words("statistics.md")


def test_every_type_has_its_page():
    page = (REFERENCE / "task-types.md").read_text(encoding="utf-8")
    for kind in TaskType:
        assert f"[`{kind.name}`](../guide/task-types/{kind.value.replace('_', '-')}.md)" in page
