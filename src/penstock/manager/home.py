"""Where tasks are kept when nobody says where."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from platformdirs import user_data_path


def default_store() -> str:
    """A file in a private folder of this user, one for each program: two programs do not share tasks by
    accident, and one that is started again finds its own."""
    folder = user_data_path("penstock", appauthor=False)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "posix":
        folder.chmod(0o700)
    return str(folder / f"{_program()}.db")


def _program() -> str:
    script = sys.argv[0] if sys.argv and sys.argv[0] not in ("", "-", "-c") else ""
    path = Path(script).resolve() if script else Path.cwd()
    stem = "".join(letter if letter.isalnum() else "-" for letter in path.stem)[:40] or "python"
    return f"{stem}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
