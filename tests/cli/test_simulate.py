"""`penstock simulator`: its options become a configuration, and it serves until it is told to stop."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from penstock.cli import simulate
from penstock.simulator.config import Faults, Latency, Limits, Output, Script, SimulatorConfig

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def served(monkeypatch):
    """What would be served, instead of serving it."""
    seen = []
    monkeypatch.setattr(simulate, "_serve", lambda *arguments: seen.append(arguments))
    return seen


def test_no_options_serve_the_defaults(served, penstock):
    assert penstock("simulator")[0] == 0
    assert served == [(SimulatorConfig(), "127.0.0.1", 8080, False)]


def test_every_field_has_an_option(served, penstock, tmp_path):
    scripts = tmp_path / "scripts.json"
    scripts.write_text(
        '[{"pattern": "hi", "reply": "ho"}, {"pattern": "x", "tool": "t", "tool_arguments": {"a": 1}}]'
    )
    text = f"""--host localhost --port 0 --key secret --model a --model b --seed 7 --rpm 60 --tpm 9000
        --window 10 --kind sliding --counting reserved --phase 2 --uncapped-reserve 100 --limits-for a=5:
        --limits-for b=:700 --latency 0.1,0.2,0.3 --output 9 --output-sigma 0.5 --output-max 99
        --scripts {scripts}
        --dimensions 8 --chunk 2 --fault hang=0.1 --fault cut=0.2 --burst 3 --slow-start 4 --slow-factor 5
        --errors-count --json"""
    code, _, err = penstock("simulator", *text.split())
    assert (code, err) == (0, "")
    limits = Limits(60, 9000, 10.0, "sliding", "reserved", 2.0, 100)
    assert served == [
        (
            SimulatorConfig(
                seed=7,
                latency=Latency(0.1, 0.2, 0.3),
                limits=limits,
                limits_by_model={
                    "a": Limits(5, None, 10.0, "sliding", "reserved", 2.0, 100),
                    "b": Limits(None, 700, 10.0, "sliding", "reserved", 2.0, 100),
                },
                output=Output(9, 0.5, 99),
                faults=Faults(hang=0.1, cut=0.2, burst_seconds=3, slow_start_seconds=4, slow_start_factor=5,
                              errors_count=True),
                scripts=(Script("hi", "ho"), Script("x", "", "t", {"a": 1})),
                models=("a", "b"),
                api_key="secret",
                embedding_dimensions=8,
                stream_chunk_tokens=2,
            ),
            "localhost",
            0,
            True,
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--latency", "quick"], "--latency 'quick' is not A,B,C"),
        (["--latency", "-1"], "latency: a, b and c are seconds"),
        (["--fault", "fire=0.1"], "--fault 'fire=0.1' is not NAME=CHANCE"),
        (["--fault", "hang"], "--fault 'hang' is not NAME=CHANCE"),
        (["--fault", "hang=2"], "their sum at most 1"),
        (["--limits-for", "m=many"], "--limits-for 'm=many' is not"),
        (["--rpm", "0"], "requests_per_window must be at least 1"),
        (["--scripts", "gone.json"], "gone.json"),
        (["--scripts", "bad.json"], "bad.json is no JSON"),
        (["--scripts", "odd.json"], "odd.json is no list"),
        (["--scripts", "regex.json"], "is no regular expression"),
    ],
)
def test_bad_options_are_named(served, penstock, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("bad.json").write_text("{")
    Path("odd.json").write_text('{"pattern": 1}')
    Path("regex.json").write_text('[{"pattern": "("}]')
    code, _, err = penstock("simulator", *arguments)
    assert code == 2
    assert message in err
    assert served == []


def test_a_taken_port_is_named(penstock):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = penstock("simulator", "--port", str(taken.getsockname()[1]))
    assert code == 2
    assert "name another with --port" in err


@pytest.mark.parametrize("as_json", [True, False])
def test_it_serves_and_stops_politely(as_json):
    program = [sys.executable, "-c", "from penstock.cli import main; main()", "simulator", "--port", "0"]
    process = subprocess.Popen(
        [*program, *(["--json"] if as_json else [])],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    try:
        line = process.stdout.readline()
        if as_json:
            ready = json.loads(line)
            reply = httpx2.post(
                ready["base_url"] + "/chat/completions",
                json={"model": "m", "messages": [{"role": "user", "content": "hi"}]},
            )
            assert reply.status_code == 200
            assert httpx2.get(ready["stats_url"]).status_code == 200
        else:
            assert "ready" in line
            assert "http://127.0.0.1:" in process.stdout.readline()
        if os.name == "posix":
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
