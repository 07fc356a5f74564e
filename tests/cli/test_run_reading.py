"""Lines in bounded memory, and fingerprints that notice a change."""

import io
import os

import pytest

from penstock.cli.run import reading
from penstock.cli.run.fingerprint import BLOCK, Chain, Fingerprint, changed
from penstock.cli.run.reading import FileSource, Lines, Spool, lines_from


@pytest.fixture
def file(tmp_path):
    return tmp_path / "input.jsonl"


def read_all(path, longest=1000, most=3, offset=0, number=0, seen=None):
    source = FileSource(path, (seen or Fingerprint()).chained)
    lines = lines_from(source, longest, seen or Fingerprint(), offset, number)
    taken = []
    while some := lines.take(most):
        taken += some
    found = lines.fingerprint()
    source.close()
    return taken, lines, found


def test_lines_of_every_shape(file, monkeypatch):
    monkeypatch.setattr(reading, "READ_BYTES", 7)
    file.write_bytes(b"one\n\nthree\r\n" + b"x" * 50 + b"\nfive" + b"\n" + b"y" * 40 + b"\nlast")
    taken, lines, _ = read_all(file, longest=20)
    assert [line.text for line in taken if not line.too_long] == [b"one", b"", b"three\r", b"five", b"last"]
    assert [line.size for line in taken if line.too_long] == [50, 40]
    assert (lines.offset, lines.number) == (file.stat().st_size, 7)


def test_a_line_too_long_is_never_loaded_whole(file):
    file.write_bytes(b"a\n" + b"x" * 5_000_000 + b"\nb\n")
    taken, lines, found = read_all(file, longest=100_000)
    assert [(len(line.text) <= 1000, line.size) for line in taken] == [
        (True, 1),
        (True, 5_000_000),
        (True, 1),
    ]
    assert changed(file, lines.offset, found) is None


def test_an_empty_file(file):
    file.touch()
    taken, lines, found = read_all(file)
    assert (taken, lines.offset) == ([], 0)
    assert changed(file, 0, found) is None


def test_reading_goes_on_in_the_middle_with_the_same_fingerprint(file):
    file.write_bytes(b"".join(b"%d %s\n" % (n, b"z" * (n % 97)) for n in range(20_000)))
    _, _, whole = read_all(file, most=500)
    source = FileSource(file, 0)
    half = lines_from(source, 1000, Fingerprint(), 0, 0)
    first = [line for _ in range(20) for line in half.take(500)]
    seen = half.fingerprint()
    source.close()
    rest, lines, found = read_all(file, most=500, offset=half.offset, number=half.number, seen=seen)
    assert len(first) + len(rest) == lines.number == 20_000
    assert seen.chained > 0
    assert found == whole


@pytest.mark.parametrize("place", [0, BLOCK + 5, -1])
def test_any_changed_byte_is_noticed(file, place):
    data = bytearray(b"line of some length\n" * 40_000)
    file.write_bytes(data)
    _, lines, seen = read_all(file)
    data[place] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(0, 0))
    assert "are not what had been read" in str(changed(file, lines.offset, seen))


def test_a_shorter_file_and_a_longer_last_line_are_noticed(file):
    file.write_bytes(b"one\ntwo")
    _, lines, seen = read_all(file)
    file.write_bytes(b"one\n")
    assert "4 bytes now" in str(changed(file, lines.offset, seen))
    file.write_bytes(b"one\ntwofold\n")
    assert "goes on" in str(changed(file, lines.offset, seen))
    file.write_bytes(b"one\ntwo\nthree\n")
    assert changed(file, lines.offset, seen) is None


def test_a_stream_is_spooled_while_it_is_read(tmp_path):
    out, into = os.pipe()
    stream = os.fdopen(out, "rb")
    spool = Spool(tmp_path / "spool", stream)
    lines = Lines(spool, 1000, Chain())
    os.write(into, b"one\ntwo\nthr")
    assert [line.text for line in lines.take(500)] == [b"one", b"two"]
    os.write(into, b"ee\n")
    os.close(into)
    assert [line.text for line in lines.take(500)] == [b"three"]
    assert lines.take(500) == []
    assert (tmp_path / "spool").read_bytes() == b"one\ntwo\nthree\n"
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    spool.close()
    stream.close()


def test_a_reader_that_waits_for_a_stream_can_be_released(tmp_path):
    out, into = os.pipe()
    with os.fdopen(out, "rb") as stream, os.fdopen(into, "wb") as writer:
        spool = Spool(tmp_path / "spool", stream)
        spool.release()
        assert Lines(spool, 1000, Chain()).take(5) == []
        writer.close()
        spool.close()
    assert isinstance(stream, io.BufferedReader)
