"""The report as files: Markdown that links its charts, and one HTML page that holds them."""

import base64
import html
import re
from pathlib import Path

STYLE = """
body { font: 16px/1.6 system-ui, sans-serif; color: #1c2733 }
body { max-width: 52rem; margin: 3rem auto; padding: 0 1rem }
h1 { line-height: 1.2; border-bottom: 3px solid #1f5f8b; padding-bottom: .5rem }
h2 { margin-top: 2.5rem; color: #1f5f8b }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { text-align: left; padding: .4rem .7rem; border-bottom: 1px solid #d6dee6 }
th { background: #eef3f7 }
figure { margin: 1.5rem 0 } figcaption { color: #5b6b7a; font-size: .9rem }
img { max-width: 100%; height: auto }
code { background: #eef3f7; padding: .1rem .3rem; border-radius: 3px }
"""
IMAGE = re.compile(r"!\[([^\]]*)\]\(([\w.-]+)\)")
CODE = re.compile(r"`([^`]+)`")


def as_html(markdown: str, folder: Path) -> str:
    """One page that needs no other file; knows headings, lists, tables, pictures, bold and code."""
    title = next((line[2:] for line in markdown.splitlines() if line.startswith("# ")), "Report")
    body = "\n".join(_block(block, folder) for block in re.split(r"\n\s*\n", markdown.strip()))
    head = f'<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n<style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


def table(head: list[str], rows: list[list[object]]) -> str:
    """A table in Markdown."""
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in cells)


def _block(block: str, folder: Path) -> str:
    lines = block.strip().splitlines()
    heading = re.match(r"(#{1,6}) +(.*)", lines[0])
    if heading:
        level = len(heading[1])
        rest = _block("\n".join(lines[1:]), folder) if lines[1:] else ""
        return f"<h{level}>{_inline(heading[2], folder)}</h{level}>{rest}"
    if lines[0].startswith("|") and len(lines) > 1 and set(lines[1]) <= set("|-: "):
        return _table(lines, folder)
    for marker, tag in ((r"[-*] +", "ul"), (r"\d+[.)] +", "ol")):
        if all(re.match(marker, line) for line in lines):
            items = "".join(
                f"<li>{_inline(re.sub(marker, '', line, count=1), folder)}</li>" for line in lines
            )
            return f"<{tag}>{items}</{tag}>"
    if IMAGE.fullmatch(block.strip()):
        return _inline(block.strip(), folder)
    return f"<p>{_inline(' '.join(lines), folder)}</p>"


def _table(lines: list[str], folder: Path) -> str:
    rows = [
        [
            _inline(cell.strip().replace("\\|", "|"), folder)
            for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]
        ]
        for line in lines
    ]
    head = "".join(f"<th>{cell}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows[2:])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _inline(text: str, folder: Path) -> str:
    """A line of text; pictures of the folder are put into it."""

    def picture(found: re.Match[str]) -> str:
        path = folder / html.unescape(found[2])
        if not path.is_file():
            return found[0]
        data = base64.b64encode(path.read_bytes()).decode()
        caption = found[1]
        return (
            f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )

    told = CODE.sub(r"<code>\1</code>", html.escape(text))
    told = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", told)
    return IMAGE.sub(picture, told)
