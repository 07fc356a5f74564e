"""The schema and its numbered migrations; each runs once, in a transaction of its own."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from importlib.resources import files

from penstock.errors import StoreError, StoreTooNew

# "pstk", in the file's header: tells our files from other people's databases.
APPLICATION_ID = 0x7073746B


def migrations() -> dict[int, str]:
    """The scripts by number, in order."""
    folder = files("penstock.stores.sqlite").joinpath("migrations")
    found = {
        int(named[1]): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if (named := re.fullmatch(r"(\d{4})_\w+\.sql", entry.name))
    }
    return dict(sorted(found.items()))


def migrate(connection: sqlite3.Connection, path: str, scripts: dict[int, str] | None = None) -> None:
    """Bring the file to the newest version; raises `StoreTooNew` when it is newer than this code."""
    scripts = migrations() if scripts is None else scripts
    check_version(connection, path, max(scripts))
    for version, script in scripts.items():
        connection.execute("begin immediate")
        try:
            # Asked again under the lock: another process may have done it meanwhile.
            if (stored_version(connection) or 0) < version:
                for statement in _split(script):
                    connection.execute(statement)
                connection.execute("insert into schema_version values (?, ?)", (version, time.time()))
                connection.execute(f"pragma application_id = {APPLICATION_ID}")
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise


def check_version(connection: sqlite3.Connection, path: str, newest: int, required: bool = False) -> None:
    """Refuse a file that is newer, somebody else's, or (`required`) not set up. Writes nothing."""
    # In one transaction, or a schema that another process makes meanwhile looks like somebody else's.
    connection.execute("begin")
    try:
        version = stored_version(connection)
        tables = connection.execute("select count(*) from sqlite_master").fetchone()[0]
    finally:
        connection.execute("rollback")
    if version is not None and version > newest:
        raise StoreTooNew(
            f"{path} was written by a newer version of penstock (schema {version}, this one knows {newest}); "
            "upgrade penstock, or name another store"
        )
    if version is None and tables:
        raise StoreError(f"{path} is a SQLite database, but not one of penstock; name another store")
    if required and version != newest:
        raise StoreError(f"{path} is not set up for this version of penstock; open it once for writing")


def stored_version(connection: sqlite3.Connection) -> int | None:
    """The schema's version; `None` when the file has no schema of ours."""
    if not connection.execute("select 1 from sqlite_master where name = 'schema_version'").fetchall():
        return None
    version: int | None = connection.execute("select max(version) from schema_version").fetchone()[0]
    return version


def _split(script: str) -> Iterator[str]:
    """The statements of a script, each whole."""
    lines: list[str] = []
    for line in script.splitlines():
        if line.lstrip().startswith("--"):
            continue
        lines.append(line)
        if line.rstrip().endswith(";") and sqlite3.complete_statement("\n".join(lines)):
            yield "\n".join(lines)
            lines = []
