"""What the tests of the commands share: a store in the current folder, and a way to run a command."""

import time

import pytest

from penstock.cli import main
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import Probe


@pytest.fixture
def probe(tmp_path, monkeypatch):
    """A store in the current folder and a node of it that is alive."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENSTOCK_STORE", raising=False)
    with SqliteStore.open(tmp_path / "work.penstock.db") as store:
        yield Probe(store, now=time.time())


@pytest.fixture
def penstock(capsys):
    """Run a command in this process; its exit code, output and complaints."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(arguments)
        seen = capsys.readouterr()
        return left.value.code or 0, seen.out, seen.err

    return run
