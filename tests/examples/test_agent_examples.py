"""Agents of other libraries as tasks: the example programs, killed and started again."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

from penstock.simulator import Latency, Script, SimulatorConfig, SimulatorThread

FOLDER = Path(__file__).resolve().parents[2] / "examples"

LIFE = """
import os, runpy, sys, warnings
os.environ |= {environment!r}
os.chdir({folder!r})
sys.stdout = sys.stderr = open({said!r}, "w", buffering=1, encoding="utf-8")
warnings.simplefilter("error")
runpy.run_path({program!r}, run_name="__main__")
"""


class Lives:
    """Processes that run a program, one after the other, with the libraries loaded beforehand: that takes
    seconds, and killing none."""

    def __init__(self, folder):
        self.folder = folder
        self.count = 0
        self.processes = []
        self.context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
        if sys.platform != "win32":
            self.context.set_forkserver_preload(["agents", "pydantic_ai", "penstock.manager.ai_task_manager"])

    def start(self, program, provider):
        self.count += 1
        self.said = self.folder / f"said{self.count}.txt"
        life = self.folder / f"life{self.count}.py"
        environment = {
            "OPENAI_BASE_URL": provider.base_url,
            "OPENAI_API_KEY": "none",
            "XDG_DATA_HOME": str(self.folder),
        }
        life.write_text(
            LIFE.format(
                environment=environment,
                folder=str(self.folder),
                said=str(self.said),
                program=str(FOLDER / program),
            )
        )
        process = self.context.Process(
            target=runpy.run_path, args=(str(life),), kwargs={"run_name": "__main__"}, daemon=True
        )
        process.start()
        self.processes.append(process)
        return process

    @property
    def text(self):
        said = self.said.read_text(encoding="utf-8") if self.said.exists() else ""
        # A machine with much else to do makes the watchdog bark.
        return "".join(line for line in said.splitlines(True) if "blocks the event loop" not in line)

    def end(self):
        for process in self.processes:
            process.kill()
            process.join()


@pytest.fixture
def lives(tmp_path):
    made = Lives(tmp_path)
    yield made
    made.end()


def provider_of(tool, arguments, pattern):
    script = Script(pattern, tool=tool, tool_arguments=arguments, once=True)
    return SimulatorThread(SimulatorConfig(latency=Latency(0.5), scripts=(script,)))


def killed_and_started_again(lives, program, provider):
    """What a program said in its two lives, the first of which ended inside its second model call."""
    with provider:
        first = lives.start(program, provider)
        give_up = time.monotonic() + 60
        while provider.stats()["calls"] < 2:
            assert first.is_alive(), lives.text
            assert time.monotonic() < give_up
            time.sleep(0.01)
        first.kill()
        first.join()
        before = lives.text
        second = lives.start(program, provider)
        second.join(60)
        assert second.exitcode == 0, lives.text
        stats = provider.stats()
        # The first call was answered from the journal; the one that was under way had to be made again.
        assert stats["billed"] == 3
        assert stats["paid"]["requests"] == 2
        return before, lives.text


def test_pydantic_ai_agent(lives):
    pytest.importorskip("pydantic_ai")
    provider = provider_of("order", {"item": "chair", "count": 4}, "out of chairs")
    before, after = killed_and_started_again(lives, "pydantic_ai_agent.py", provider)
    assert before.strip() == "ordered 4 of chair"
    assert "ordered" not in after
    assert "the agent says: " in after
    assert "2 model calls" in after


def test_openai_agents_sdk(lives):
    pytest.importorskip("agents")
    provider = provider_of("send_letter", {"to": "Ada"}, "Thank Ada")
    before, after = killed_and_started_again(lives, "openai_agents_sdk.py", provider)
    assert before.strip() == "sent a letter to Ada"
    assert "sent" not in after.replace("the agent says", "")
    assert "2 model calls" in after


@pytest.mark.parametrize(
    ("program", "library", "said"),
    [
        ("pydantic_ai_agent.py", "pydantic_ai", "pip install 'pydantic-ai-slim[openai]'"),
        ("openai_agents_sdk.py", "agents", "pip install openai-agents"),
    ],
)
def test_without_the_library_a_program_says_what_to_install(tmp_path, program, library, said):
    (tmp_path / f"{library}.py").write_text("raise ImportError('not here')")
    done = subprocess.run(
        [sys.executable, str(FOLDER / program)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
