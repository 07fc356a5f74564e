"""The store fails in the middle of a job, or at its door: a clear word, exit code 2, nothing kept is lost."""

import ctypes
import os
import sqlite3
import sys

import pytest
from rig import Job, body, check_files, snapshot

from penstock.simulator import Latency, Output, SimulatorConfig

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of a process as Linux knows them")


def job_of(make_job, serve, lines: int, *options: str):
    provider = serve(SimulatorConfig(latency=Latency(0.05), output=Output(200)))
    bodies = [body(number, 400) for number in range(lines)]
    return make_job(provider, bodies, "--concurrency", "20", *options), provider


def complaint(job: Job, **how) -> str:
    """What the command says when it cannot go on; one line, no traceback."""
    code, said = job.run(60, **how)
    assert code == 2, said
    assert "Traceback" not in said
    assert said.startswith("penstock: ") or "\npenstock: " in said
    return said


def small_files(size: int):
    """For the child: no file grows beyond `size` bytes, as on a disk that is full."""

    def limit():
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.mark.parametrize("durability", [pytest.param("full", marks=pytest.mark.slow), "normal"])
def test_a_full_disk_stops_the_job_and_room_lets_it_go_on(make_job, serve, durability):
    job, provider = job_of(make_job, serve, 400, "--durability", durability)
    said = complaint(job, preexec_fn=small_files(2_000_000))
    assert "full" in said or "File too large" in said
    provider.quiet()
    paid, left = provider.paid(), snapshot(job.store)
    assert 0 < len(left.recorded) < 400
    code, said = job.run()
    assert code == 0, said
    good, bad = check_files(job)
    assert (len(good), bad) == (400, [])
    after = provider.paid()
    recorded = {job.digests[line - 1] for line in left.recorded}
    assert {digest: after[digest] for digest in recorded} == {digest: paid[digest] for digest in recorded}
    twice = {line for line, digest in enumerate(job.digests, 1) if sum(after[digest]) > 1}
    assert len(twice) <= 20  # what was in flight when the disk was full, and could not be kept


def no_root_powers():
    """For the child: root asks for permission like everybody else."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; what is not in the set is gone after exec


def test_a_store_that_may_only_be_read(make_job, serve):
    job, provider = job_of(make_job, serve, 5)
    assert job.run()[0] == 0
    calls = provider.stats()["calls"]
    job.store.chmod(0o400)
    said = complaint(job, preexec_fn=no_root_powers if os.geteuid() == 0 else None)
    assert "jobs.db" in said
    assert "read" in said or "ermission" in said
    job.store.chmod(0o600)
    assert job.run()[0] == 0
    assert provider.stats()["calls"] == calls


def test_a_store_whose_path_is_a_folder(make_job, serve):
    job, provider = job_of(make_job, serve, 5)
    job.store.mkdir()
    assert "jobs.db" in complaint(job)
    assert provider.stats()["calls"] == 0


def test_a_store_of_a_newer_version(make_job, serve):
    job, provider = job_of(make_job, serve, 5)
    assert job.run()[0] == 0
    with sqlite3.connect(job.store) as connection:
        connection.execute("insert into schema_version values (9999, 0)")
    connection.close()
    before = job.store.read_bytes()
    said = complaint(job)
    assert "newer" in said
    assert "jobs.db" in said
    assert job.store.read_bytes() == before
    assert provider.stats()["calls"] == 5


def test_a_store_that_is_no_database(make_job, serve):
    job, provider = job_of(make_job, serve, 5)
    job.store.write_text("These are the notes of somebody else.\n" * 100)
    before = job.store.read_bytes()
    assert "jobs.db" in complaint(job)
    assert job.store.read_bytes() == before
    assert provider.stats()["calls"] == 0
