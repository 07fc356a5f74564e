"""No god modules: what grows over its size is split, or explained in ALLOWED with a figure of its own."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "penstock"
MODULE_LINES, LARGE_MODULE_LINES, FUNCTION_LINES, CLASS_METHODS = 400, 600, 50, 20
# "path" or "path::Class.function" -> the size it may have; it only goes down.
ALLOWED: dict[str, int] = {
    # Surfaces: what users and stores are promised, one verb a method.
    "manager/engine.py::Manager": 27,
    "manager/ai_task_manager.py::AITaskManager": 30,
    "stores/contract.py::Reader": 33,
    "stores/contract.py::Transaction": 33,
}


def sizes(path: Path, text: str) -> Iterator[tuple[str, int, int]]:
    """(name, size, limit) of a module, of its functions in lines and of its classes in methods."""
    name = path.as_posix()
    large = path.parts[0] == "stores"
    yield name, len(text.splitlines()), LARGE_MODULE_LINES if large else MODULE_LINES
    pending: list[tuple[str, ast.AST]] = [(f"{name}::", ast.parse(text))]
    while pending:
        prefix, node = pending.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield prefix + child.name, *measure(child)
                pending.append((f"{prefix}{child.name}.", child))
            else:
                pending.append((prefix, child))


def measure(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> tuple[int, int]:
    if isinstance(node, ast.ClassDef):
        methods = [item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
        return len(methods), CLASS_METHODS
    return (node.end_lineno or node.lineno) - node.lineno + 1, FUNCTION_LINES


def too_large(path: Path, text: str) -> list[str]:
    return [
        f"{name}: {size}, at most {ALLOWED.get(name, limit)}"
        for name, size, limit in sizes(path, text)
        if size > ALLOWED.get(name, limit)
    ]


def test_nothing_outgrows_its_size():
    found = [
        line
        for file in sorted(SOURCE.rglob("*.py"))
        for line in too_large(file.relative_to(SOURCE), file.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


def test_no_exception_outlives_its_reason():
    now = {
        name: (size, limit)
        for file in SOURCE.rglob("*.py")
        for name, size, limit in sizes(file.relative_to(SOURCE), file.read_text(encoding="utf-8"))
    }
    assert not [name for name in ALLOWED if name not in now or now[name][0] <= now[name][1]]


@pytest.mark.parametrize(
    ("path", "text", "fits"),
    [
        ("runtime/a.py", "\n" * 400, True),
        ("runtime/a.py", "\n" * 401, False),
        ("stores/sqlite/a.py", "\n" * 600, True),
        ("stores/sqlite/a.py", "\n" * 601, False),
        ("a.py", "def f():\n" + "    1\n" * 49, True),
        ("a.py", "def f():\n" + "    1\n" * 50, False),
        ("a.py", "class A:\n  async def f(self):\n" + "    1\n" * 50, False),
        ("a.py", "class A:\n" + "".join(f"  def f{n}(self): ...\n" for n in range(20)), True),
        ("a.py", "class A:\n" + "".join(f"  def f{n}(self): ...\n" for n in range(21)), False),
    ],
)
def test_the_ratchet_bites(path, text, fits):
    assert (not too_large(Path(path), text)) is fits
