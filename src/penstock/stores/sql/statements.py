"""Named SQL statements, read from one file per dialect."""

from __future__ import annotations

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\s*$")


def load_statements(package: str, file: str = "statements.sql") -> dict[str, str]:
    """Every block that begins with `-- name: NAME` in a file of `package`, by name, without its comments."""
    return parse_statements(files(package).joinpath(file).read_text(encoding="utf-8"))


def parse_statements(text: str) -> dict[str, str]:
    """The statements of `text` by name; a name given twice is a `ValueError`."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if named := _NAME.match(line):
            if named[1] in found:
                raise ValueError(f"two statements are named {named[1]}")
            lines = found[named[1]] = []
        elif not line.lstrip().startswith("--"):
            lines.append(line)
    return {name: "\n".join(lines).strip() for name, lines in found.items()}
