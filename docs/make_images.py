"""Draws docs/images/demo.svg from a real run of `penstock demo` in a terminal of its own.

Run it with the project's Python on Linux or macOS; it takes as long as the demo.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

IMAGE = Path(__file__).resolve().parent / "images" / "demo.svg"
COLUMNS, ROWS = 116, 50
START = "from penstock.cli import main; main()"

_PART = re.compile(r"\r\n|\n|\r|\x1b\[(\d*)([A-Za-z])|\x1b\[\?\d+[hl]|\x1b\[[\d;]*m|[^\x1b\r\n]+")


def record(words: list[str], folder: Path) -> bytes:
    """Everything that `penstock WORDS` writes to a terminal; raises SystemExit when it fails."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", COLUMNS=str(COLUMNS), LINES=str(ROWS))
        os.execv(sys.executable, [sys.executable, "-c", START, *words])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    written = bytearray()
    while True:
        try:
            data = os.read(terminal, 65_536)
        except OSError:  # Linux: the other end is closed
            break
        if not data:
            break
        written += data
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise SystemExit(f"penstock {' '.join(words)} ended with exit code {code}:\n{written.decode()}")
    return bytes(written)


def screen(written: str) -> list[str]:
    """What is left on the terminal, line by line: cursor moves and erasures are carried out, colours kept."""
    lines, row = [""], 0
    for part in _PART.finditer(written):
        text, count, letter = part[0], part[1], part[2]
        if letter == "A":
            row = max(0, row - int(count or 1))
        elif letter == "K":
            lines[row] = ""
        elif text in ("\n", "\r\n"):
            row += 1
            if row == len(lines):
                lines.append("")
        elif text == "\r" or text.startswith("\x1b[?"):
            continue  # whatever writes over a line erases it first
        else:
            lines[row] += text
    return lines


def draw(lines: list[str]) -> str:
    """The lines as an SVG that loads nothing from anywhere."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False)
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=False)
    picture = console.export_svg(title="penstock demo", theme=MONOKAI, unique_id="penstock-demo")
    picture = re.sub(r"@font-face\s*{[^}]*}", "", picture)
    picture = picture.replace("<!-- Generated with Rich https://www.textualize.io -->", "")
    return "\n".join(line.rstrip() for line in picture.splitlines() if line.strip()) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        written = record(["demo"], place).decode("utf-8", "replace")
    lines = screen(written.replace(f"{place}/", ""))
    while lines and not lines[-1].strip():
        lines.pop()
    IMAGE.parent.mkdir(exist_ok=True)
    IMAGE.write_text(draw(lines), encoding="utf-8")
    print(f"wrote {IMAGE.name}, {len(lines)} lines")


if __name__ == "__main__":
    main()
