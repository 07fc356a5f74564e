"""Pages that follow from the code are current; pictures load nothing from anywhere."""

import importlib.util
import re
from dataclasses import fields
from pathlib import Path

import pytest

from penstock import Keep, Limits, ModelLimits, Settings, Submission, TaskOptions

DOCS = Path(__file__).resolve().parents[2] / "docs"


def script(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["states.md", "cli.md", "configuration.md"])
def test_page_is_current(name):
    written = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert written == script("make_reference").PAGES[name](), "run docs/make_reference.py"


@pytest.mark.parametrize("kind", [Settings, Limits, ModelLimits, TaskOptions, Submission, Keep])
def test_every_setting_is_described(kind):
    page = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")
    described = set(re.findall(r"`(\w+)`", page)) | set(re.findall(r"`(\w+)\(", page))
    missing = {field.name for field in fields(kind)} - described - {"type", "data"}
    assert not missing


def test_the_picture_is_of_a_demo_that_held_and_names_no_host():
    picture = (DOCS / "images" / "demo.svg").read_text(encoding="utf-8")
    hosts = set(re.findall(r"https?://([^/\"'<\s:]+)", picture))
    loaded = re.findall(r"(?:href|src)=|url\((?!#)|@import|@font-face", picture)
    assert loaded == []
    assert hosts <= {"www.w3.org", "127.0.0.1"}
    assert "✔" in picture
    assert "✘" not in picture


def test_a_terminal_is_replayed_to_its_last_screen():
    pytest.importorskip("fcntl", reason="pictures are drawn where there are terminals of this kind")
    screen = script("make_images").screen
    assert screen("a\r\nold\r\n\x1b[1A\x1b[2Knew\x1b[?25h\r\n") == ["a", "new", ""]
