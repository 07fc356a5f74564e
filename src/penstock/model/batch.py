"""A batch: the lines of one input file, run as tasks, written to a file of results and a file of errors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Batch:
    """Where a batch stands; every number is durable in the transaction that moved it.

    `read_bytes` and `read_lines` of the input are already tasks. Finished tasks up to `written_no` are in the
    files, whose lengths are then `results_bytes` and `errors_bytes`: whatever is behind is a torn tail to be
    cut.
    """

    id: int
    name: str
    input_path: str
    output_path: str
    errors_path: str
    fingerprint: str
    settings: str
    created_at: float
    read_bytes: int = 0
    read_lines: int = 0
    read_all: bool = False
    written_no: int = 0
    results_bytes: int = 0
    errors_bytes: int = 0
    results_lines: int = 0
    errors_lines: int = 0
