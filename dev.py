"""One door for everybody who has only Python and pip: `python3 dev.py COMMAND [ARGUMENTS]`.

demo      run `penstock demo` (runtime dependencies only)
test      all checks, then all tests; arguments go to pytest
check     ruff, mypy, import contract
format    let ruff rewrite the code
bench     run `penstock bench`
setup     only set up the development environment
lock      resolve constraints.txt again (arguments such as --upgrade go to uv)

Every command sets up `.venv` by itself, from the pins and hashes of constraints.txt, and uses it again while
nothing changed. Standard library only; nothing unpinned is fetched.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
PINS = ROOT / "constraints.txt"
CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
)
LOCK = shlex.split(
    "uv pip compile pyproject.toml -o constraints.txt --universal --generate-hashes --python-version 3.11 "
    "--all-extras --group build --group dev --no-emit-index-url --quiet "
    "--custom-compile-command 'python3 dev.py lock'"
)


class SetupError(Exception):
    """Set-up cannot go on; the message tells a person what to do."""


def run_quietly(command: Sequence[str | Path]) -> None:
    """Silent on success; a failure raises SetupError with everything the command printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise SetupError(f"{done.stdout.rstrip()}\n`{' '.join(map(str, command))}` exited {done.returncode}")


def succeeds(command: Sequence[str | Path]) -> bool:
    try:
        run_quietly(command)
    except (SetupError, OSError):
        return False
    return True


# --- which pins a purpose needs


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names_of(requirements: Iterable[str]) -> set[str]:
    return {normal(re.split(r"[^\w.-]", text, maxsplit=1)[0]) for text in requirements}


def select_pins(roots: set[str]) -> str:
    """The blocks of constraints.txt that `roots` stand on, by the file's own `# via` notes."""
    blocks = re.split(r"\n(?=\w)", PINS.read_text(encoding="utf-8"))
    pins = [(normal(block.split("==")[0]), block) for block in blocks if not block.startswith("#")]
    missing = roots - {name for name, _ in pins}
    if missing:
        raise SetupError(f"constraints.txt has no pin for {', '.join(sorted(missing))}: run `dev.py lock`")
    wanted: set[str] = set()
    found = set(roots)
    while found - wanted:
        wanted |= found
        found = {
            name
            for name, block in pins
            if wanted & set(map(normal, re.findall(r"^    # (?:via|  ) ?([\w.-]+)$", block, re.MULTILINE)))
        }
    return "\n".join(block for name, block in pins if name in wanted) + "\n"


def roots_of(purpose: str) -> set[str]:
    """What pyproject.toml asks for, for `runtime` or `dev`, with the build backend; `lock` needs uv alone."""
    import tomllib

    if purpose == "lock":  # must work while a new dependency has no pin yet
        return {"uv"}

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    listed = project["project"]["dependencies"] + groups["build"]
    return names_of(listed + (groups["dev"] if purpose == "dev" else []))


# --- the environment


def fingerprint() -> str:
    inputs = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt", "dev.py")]
    return hashlib.sha256(b"\0".join([*inputs, sys.version.encode(), os.fsencode(ROOT)])).hexdigest()


def is_ready(purpose: str) -> bool:
    """A development environment also serves the runtime."""
    for name in {purpose, "dev"}:
        stamp = VENV / f"penstock-{name}.stamp"
        if PYTHON.exists() and stamp.exists() and stamp.read_text() == fingerprint():
            return True
    return False


def working_pip() -> list[str | Path] | None:
    """pip of `.venv`, else our own pip pointed at it; None unless `.venv` is of this very Python."""
    same_python = f"import sys; sys.exit(sys.version != {sys.version!r})"
    if not (PYTHON.exists() and succeeds([PYTHON, "-c", same_python])):
        return None
    inner: list[str | Path] = [PYTHON, "-m", "pip"]
    outer: list[str | Path] = [sys.executable, "-m", "pip", "--python", PYTHON]
    return next((pip for pip in (inner, outer) if succeeds([*pip, "--version"])), None)


def prepare_venv() -> list[str | Path]:
    """Make `.venv` where it does not serve already; the pip command that installs into it."""
    if pip := working_pip():
        return pip
    shutil.rmtree(VENV, ignore_errors=True)
    reason = ""
    for options in ([], ["--without-pip"]):  # Debian's own Python often cannot put pip in
        try:
            run_quietly([sys.executable, "-m", "venv", "--clear", *options, VENV])
        except SetupError as error:
            reason = reason or f"{error}\n\n"
        if pip := working_pip():
            return pip
    shutil.rmtree(VENV, ignore_errors=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    raise SetupError(
        f"{reason}This Python cannot make a virtual environment with pip in it. "
        f"On Debian and Ubuntu:\n    apt-get install python3-venv      (or python{version}-venv)"
    )


def install(purpose: str, pip: Sequence[str | Path]) -> None:
    """Put the pinned files of `purpose` and this project, editable, into the environment."""
    command = [*pip, "install", "--quiet", "--disable-pip-version-check"]
    wanted = VENV / f"{purpose}-pins.txt"
    wanted.write_text(select_pins(roots_of(purpose)), encoding="utf-8")
    run_quietly([*command, "--require-hashes", "-r", wanted])
    if purpose != "lock":
        run_quietly([*command, "--no-index", "--no-deps", "--no-build-isolation", "-e", ROOT])


def set_up(purpose: str) -> None:
    """Make `.venv` fit for `purpose`; at once when it already is."""
    if is_ready(purpose):
        return
    print(f"dev.py: setting up .venv ({purpose}), once ...", file=sys.stderr, flush=True)
    install(purpose, prepare_venv())
    (VENV / f"penstock-{purpose}.stamp").write_text(fingerprint())


# --- the commands


def tool(name: str, *arguments: str) -> int:
    print("$", name, *arguments, flush=True)
    return subprocess.call([str(BIN / name), *arguments], cwd=ROOT)


def check() -> int:
    """Every check runs, so that one round shows all there is to mend; the exit code of the worst."""
    return max(abs(tool(*command)) for command in CHECKS)


def test(arguments: list[str]) -> int:
    """Checks first and pytest last; tests are not run on code that fails its checks."""
    if failed := check():
        print("dev.py: the checks above failed; no test was run", file=sys.stderr)
        return failed
    return tool("pytest", "-n", "2", *arguments)


def penstock(*arguments: str) -> int:
    """Become `penstock`, so that signals and the exit code are its own."""
    command = [str(BIN / "penstock"), *arguments]
    if os.name == "nt":
        return subprocess.call(command)
    sys.stdout.flush()
    os.execv(command[0], command)


def format_code() -> int:
    return max(tool("ruff", "check", "--fix", "."), tool("ruff", "format", "."))


def main(arguments: list[str]) -> int:
    """Run one command; its exit code, 1 when set-up fails, 2 for a command that does not exist."""
    commands: dict[str, tuple[str, Callable[[list[str]], int]]] = {
        "demo": ("runtime", lambda rest: penstock("demo", *rest)),
        "test": ("dev", test),
        "check": ("dev", lambda _: check()),
        "format": ("dev", lambda _: format_code()),
        "bench": ("runtime", lambda rest: penstock("bench", *rest)),
        "setup": ("dev", lambda _: 0),
        "lock": ("lock", lambda rest: tool(*LOCK, *rest)),
    }
    name, *rest = arguments or ["help"]
    if name not in commands:
        print(__doc__)
        return 0 if name in ("help", "-h", "--help") else 2
    purpose, command = commands[name]
    try:
        set_up(purpose)
    except SetupError as error:
        print(f"{error}\n\ndev.py: set-up failed, see above", file=sys.stderr)
        return 1
    return command(rest)


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what an older Python meets first
        sys.exit("Penstock needs Python 3.11 or newer; this is " + sys.version.split()[0])
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
