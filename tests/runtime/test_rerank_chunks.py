"""What one transaction ranks anew: everything once, the next to go first, and no more than is quick."""

import random

from penstock.runtime.reranking import BEST_FIRST, CHUNK, CHUNK_SECONDS, LEAST_CHUNK, MOST_CHUNK, Chunks


def taken(seqs, seconds_of):
    chunks, taken = Chunks(seqs), []
    while chunk := chunks.take():
        taken.append(chunk)
        chunks.took(seconds_of(len(chunk)))
    return taken


def test_everything_comes_once_and_the_best_first():
    seqs = random.Random(1).sample(range(50_000), 20_000)
    flat = [seq for chunk in taken(seqs, lambda count: count * 1e-5) for seq in chunk]
    assert flat[:BEST_FIRST] == seqs[:BEST_FIRST]
    assert flat[BEST_FIRST:] == sorted(seqs[BEST_FIRST:])
    assert taken([], lambda count: 0.0) == []


def test_chunks_become_as_large_as_is_quick():
    for each in (1e-5, 5e-5):
        sizes = [len(chunk) for chunk in taken(range(100_000), lambda count, each=each: count * each)]
        assert sizes[0] == CHUNK
        assert all(abs(size * each - CHUNK_SECONDS) < 0.02 * CHUNK_SECONDS for size in sizes[8:-1])


def test_chunks_stay_within_bounds():
    assert {len(chunk) for chunk in taken(range(100_000), lambda _: 0.0)[10:-1]} == {MOST_CHUNK}
    assert {len(chunk) for chunk in taken(range(5_000), lambda _: 9.0)[5:-1]} == {LEAST_CHUNK}
