"""Real texts that every machine has: the README files of its Python packages, cut at their headings.

Where there are too few of them, documentation of the standard library's modules fills up. Equal machines give
equal requests, for a run that resumes must find its input unchanged.
"""

from __future__ import annotations

import ast
import json
import pkgutil
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

MODEL = "demo-model"
CAP = 80
"""Output tokens at most for one summary."""

_SHORTEST, _LONGEST = 80, 2_000
_MOST_OF_ONE = 30
_TASK = "Summarise this part of a package's documentation in one line for a newcomer."
_MARKDOWN_HEADING = re.compile(r"#{1,6}\s+(.+?)\s*#*$")
_UNDERLINE = re.compile(r"([=\-~^\"'#*+])\1{2,}\s*$")
_FENCE = re.compile(r"\s*(```|~~~)")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a package's documentation under one heading, numbered from 1 within its package."""

    package: str
    number: int
    heading: str
    text: str

    @property
    def id(self) -> str:
        return f"{self.package}-{self.number:03d}"

    @property
    def prompt(self) -> str:
        return f'{self.package}, part "{self.heading}":\n\n{self.text}'


def collect(wanted: int) -> list[Section]:
    """`wanted` sections: of READMEs, spread over all packages alike, then of the standard library."""
    found = _distinct(section for name, text in readmes() for section in split(name, text))
    if len(found) < wanted:
        library = (section for name, text in library_docs() for section in split(name, text))
        found = _distinct([*found, *library])
        return found[:wanted]
    return [found[place * len(found) // wanted] for place in range(wanted)]


def write_requests(path: Path, sections: Iterable[Section]) -> None:
    """One request a line, in OpenAI batch form."""
    with path.open("w", encoding="utf-8") as file:
        for section in sections:
            line = {
                "custom_id": section.id,
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": request_body(section),
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def request_body(section: Section) -> dict[str, Any]:
    return {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": _TASK},
            {"role": "user", "content": section.prompt},
        ],
        "max_tokens": CAP,
    }


def readmes() -> Iterator[tuple[str, str]]:
    """Name and long description of each distribution, by name: of this environment and of its base Python."""
    known: dict[str, str] = {}
    for distribution in distributions(path=_places()):
        name, text = _described(distribution)
        if name and text:
            known.setdefault(name, text)
    yield from sorted(known.items())


def library_docs() -> Iterator[tuple[str, str]]:
    """Name and docstring of each public module of the standard library, by name; nothing is imported."""
    folder = Path(sysconfig.get_path("stdlib"))
    for name in sorted(sys.stdlib_module_names):
        if name.startswith("_"):
            continue
        for module, file in _module_files(name, folder):
            yield module, _docstrings(file)


def split(package: str, text: str) -> list[Section]:
    """The sections of a Markdown or reStructuredText text that say enough to be summarised."""
    sections: list[Section] = []
    for heading, body in _parts(text.replace("\r\n", "\n").split("\n")):
        body = re.sub(r"\n{3,}", "\n\n", body).strip()
        if len(body) >= _SHORTEST and len(sections) < _MOST_OF_ONE:
            title = re.sub(r'["\s]+', " ", heading).strip()[:80] or "Introduction"
            sections.append(Section(package, len(sections) + 1, title, body[:_LONGEST]))
    return sections


def _parts(lines: list[str]) -> Iterator[tuple[str, str]]:
    heading, fenced = "", False
    body: list[str] = []
    for line in lines:
        if _FENCE.match(line):
            fenced = not fenced
        found = None if fenced else _MARKDOWN_HEADING.match(line)
        if found is not None:
            yield heading, "\n".join(body)
            heading, body = found[1], []
        elif not fenced and body and _UNDERLINE.match(line) and _is_title(body[-1], line):
            title = body.pop()
            yield heading, "\n".join(body)
            heading, body = title, []
        else:
            body.append(line)
    yield heading, "\n".join(body)


def _is_title(line: str, underline: str) -> bool:
    return (
        bool(line.strip())
        and not line.startswith((" ", "\t", "|"))
        and len(underline.strip()) >= len(line.strip()) - 2
    )


def _distinct(sections: Iterable[Section]) -> list[Section]:
    """Each text once: equal requests could not be told apart in the provider's books."""
    seen: dict[str, Section] = {}
    for section in sections:
        seen.setdefault(section.text, section)
    ids: dict[str, Section] = {}
    for section in seen.values():
        ids.setdefault(section.id, section)
    return list(ids.values())


def _places() -> list[str]:
    base = {"base": sys.base_prefix, "platbase": sys.base_prefix}
    inherited = [sysconfig.get_path(kind, vars=base) for kind in ("purelib", "platlib")]
    return list(dict.fromkeys([*sys.path, *inherited]))


def _described(distribution: Distribution) -> tuple[str, str]:
    try:
        metadata = distribution.metadata
        name = str(metadata["Name"] or "")
        text = metadata.get("Description") or metadata.get_payload()  # type: ignore[attr-defined]
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return "", ""  # a broken installation of somebody else's package
    return re.sub(r"[^\w.]+", "-", name).lower(), text if isinstance(text, str) else ""


def _module_files(name: str, folder: Path) -> Iterator[tuple[str, Path]]:
    file, package = folder / f"{name}.py", folder / name
    if file.is_file():
        yield name, file
    elif (package / "__init__.py").is_file():
        yield name, package / "__init__.py"
        for info in sorted(pkgutil.iter_modules([str(package)]), key=lambda info: info.name):
            inner = package / f"{info.name}.py"
            if not info.name.startswith("_") and inner.is_file():
                yield f"{name}.{info.name}", inner


def _docstrings(file: Path) -> str:
    """The docstrings of a module and its public functions and classes, each under its name as a heading."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ""
    parts = [ast.get_docstring(tree) or ""]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            parts.append(f"# {node.name}\n{ast.get_docstring(node) or ''}")
    return "\n\n".join(parts)
