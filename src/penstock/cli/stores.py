"""Finding and opening the store that a command is about, and saying clearly why that does not work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from penstock.errors import ConfigurationError
from penstock.stores.contract import Store

FAILED = 1
"""Exit code: the command ran, but not everything could be done, or something is wrong with the data."""

DEFAULT_NAME = "penstock.db"
SUFFIX = ".penstock.db"
VARIABLE = "PENSTOCK_STORE"

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        "-s",
        envvar=VARIABLE,
        metavar="PATH",
        help=f"The store's file; by default the only *{SUFFIX} or {DEFAULT_NAME} in this folder.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def find_store(given: str | None, folder: Path | None = None) -> str:
    """The path of an existing store: the one given, or the only one in the folder.

    Raises `ConfigurationError` that lists what there is to choose from.
    """
    if given:
        path = given.removeprefix("sqlite:///")
        if not Path(path).expanduser().is_file():
            raise ConfigurationError(
                f"there is no store {path}; --store names the file that `penstock run` wrote to"
            )
        return path
    folder = folder or Path.cwd()
    found = sorted({*folder.glob(f"*{SUFFIX}"), *folder.glob(DEFAULT_NAME)})
    if len(found) == 1:
        return str(found[0])
    if not found:
        raise ConfigurationError(
            f"there is no store in {folder}: no *{SUFFIX} and no {DEFAULT_NAME}; "
            f"go to the folder of the run, or name the file with --store PATH or {VARIABLE}"
        )
    names = "\n".join(f"  --store {file.name}" for file in found)
    raise ConfigurationError(f"there are several stores in {folder}; choose one:\n{names}")


def any_store(folder: Path | None = None) -> bool:
    """Whether the folder has a store at all."""
    folder = folder or Path.cwd()
    return any((*folder.glob(f"*{SUFFIX}"), *folder.glob(DEFAULT_NAME)))


@contextmanager
def reading(given: str | None) -> Iterator[Store]:
    """The store, opened for reading only, beside whoever dispatches it."""
    with _opened(given, read_only=True) as store:
        yield store


@contextmanager
def writing(given: str | None) -> Iterator[Store]:
    """The store as a client process: it writes tasks and control requests, and never dispatches."""
    with _opened(given, read_only=False) as store:
        yield store


@contextmanager
def _opened(given: str | None, read_only: bool) -> Iterator[Store]:
    from penstock.manager import open_store
    from penstock.runtime.settings import Settings

    store = open_store(Settings(store=find_store(given)), read_only)
    try:
        yield store
    finally:
        store.close()


def file_sizes(path: str) -> dict[str, int]:
    """Bytes of the store's file and of the write-ahead log beside it."""
    place = Path(path).expanduser()
    sizes = {}
    for name, suffix in (("file", ""), ("log", "-wal")):
        try:
            sizes[name] = os.stat(f"{place}{suffix}").st_size
        except OSError:
            sizes[name] = 0
    return sizes
