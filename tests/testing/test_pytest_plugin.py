"""The plugin in runs of its own: it costs nothing, breaks nothing, and serves whoever runs the test."""

import tomllib
from pathlib import Path

import pytest

from penstock.testing import pytest_plugin

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]

TESTS = """
    import asyncio

    import pytest

    from penstock import TaskConfig, TaskStatus, TaskType
    from penstock.testing import virtually


    async def ask(manager, prompt="hello?"):
        id = await manager.submit_task(TaskType.LLM_CALL, {"prompt": prompt})
        return (await manager.wait_for_task(id))["text"]


    @pytest.fixture
    def penstock_settings():
        return {"max_concurrent": 3}


    MARK
    async def test_manager(penstock_manager, penstock_simulator):
        penstock_simulator.say("as told")
        assert await ask(penstock_manager) == "as told"
        assert penstock_manager.get_statistics()["concurrency"]["max_concurrent"] == 3


    MARK
    async def test_harness(penstock_harness, penstock_manager):
        assert penstock_harness.manager is penstock_manager
        id = await penstock_manager.submit_task("llm_call", {"prompt": "x"})
        await asyncio.sleep(0.02)
        assert penstock_manager.get_task(id).status is TaskStatus.QUEUED
        (task,) = await penstock_harness.drain()
        assert task.task_id == id
        await penstock_harness.crash_and_restart()


    @pytest.fixture
    def seeded(penstock_manager):
        penstock_manager.register_type("echo", echo)
        return penstock_manager


    async def echo(context):
        return context.data


    MARK
    async def test_in_a_fixture_of_ones_own(seeded):
        assert await seeded.wait_for_task(await seeded.submit_task("echo", 3)) == 3


    @virtually
    async def test_virtually(penstock_harness, penstock_simulator):
        config = TaskConfig(delay=30 * 86_400)
        await penstock_harness.manager.submit_task("llm_call", {"prompt": "x"}, config=config)
        assert await penstock_harness.drain() == []
        assert len(await penstock_harness.run_out()) == 1


    @virtually
    async def test_virtually_running(penstock_manager):
        assert await ask(penstock_manager)


    def test_plain(penstock_sync_manager, penstock_simulator):
        penstock_simulator.say("plainly")
        id = penstock_sync_manager.submit_task("llm_call", {"prompt": "x"})
        assert penstock_sync_manager.wait_for_task(id)["text"] == "plainly"
        assert len(penstock_simulator.calls) == 1


    class TestInAClass:
        MARK
        async def test_method(self, penstock_manager):
            assert await ask(penstock_manager)

        @pytest.mark.parametrize("said", ["one", "two"])
        @virtually
        async def test_parametrized(self, said, penstock_manager, penstock_simulator):
            penstock_simulator.say(said)
            assert await ask(penstock_manager) == said
"""

ASYNCIO = ("-p", "pytest_asyncio.plugin", "-o", "asyncio_default_fixture_loop_scope=function", "-o")
ANYIO = ("-p", "anyio.pytest_plugin")
RUNNERS = {
    "asyncio strict": ("@pytest.mark.asyncio", (*ASYNCIO, "asyncio_mode=strict")),
    "asyncio auto": ("", (*ASYNCIO, "asyncio_mode=auto")),
    "anyio": ("@pytest.mark.anyio", ANYIO),
    "anyio beside asyncio": ("@pytest.mark.anyio", (*ANYIO, *ASYNCIO, "asyncio_mode=strict")),
}


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs a test module with our plugin and those named, and no other that happens to be installed."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeconftest("import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")

    def run(text, *args):
        pytester.makepyfile(text)
        return pytester.runpytest_subprocess(
            "-q", "-W", "error", "-p", "penstock.testing.pytest_plugin", *args
        )

    return run


@pytest.mark.parametrize("runner", RUNNERS)
def test_fixtures_serve_every_runner(run, runner):
    mark, args = RUNNERS[runner]
    run(TESTS.replace("MARK", mark), *args).assert_outcomes(passed=9)


def test_failures_are_told_as_ever(run):
    text = """
        from penstock.testing import virtually

        @virtually
        async def test_fails(penstock_manager):
            assert "this" == "that"

        @virtually
        async def test_stalls(penstock_harness):
            id = await penstock_harness.manager.submit_task("llm_call", {"prompt": "x"})
            await penstock_harness.manager.wait_for_task(id)

        def test_not_started(penstock_manager):
            penstock_manager.get_queue_status()
        """
    result = run(text)
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        ["*assert 'this' == 'that'*", "*await penstock_harness.manager.wait_for_task(id)*"]
    )
    result.stdout.fnmatch_lines(["*Stalled: nothing runs*drain*"])
    result.stdout.fnmatch_lines(["*the manager is not running*"])


def test_simulator_configuration_is_overridden(run):
    text = """
        import pytest
        from penstock.simulator import Output, SimulatorConfig
        from penstock.testing import virtually

        @pytest.fixture
        def penstock_simulator_config():
            return SimulatorConfig(output=Output(mean=7))

        @virtually
        async def test_seven(penstock_manager):
            id = await penstock_manager.submit_task("llm_call", {"prompt": "x"})
            await penstock_manager.wait_for_task(id)
            assert penstock_manager.get_task(id).metrics.output_tokens == 7
        """
    run(text).assert_outcomes(passed=1)


def test_runs_without_it_load_nothing_of_ours(run):
    text = """
        import sys

        def test_light():
            loaded = {name for name in sys.modules if name.partition(".")[0] == "penstock"}
            assert loaded <= {"penstock", "penstock.testing", "penstock.testing.pytest_plugin"}
            assert not {"asyncio.runners", "httpx2", "pydantic", "starlette"} & sys.modules.keys()
        """
    run(text).assert_outcomes(passed=1)


def test_it_is_found_by_its_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"penstock": pytest_plugin.__name__}
