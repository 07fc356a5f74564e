"""The simulator's tokenizer: a token is four bytes of UTF-8, rounded up per message.

Exact, cheap, easy to predict.
"""

from __future__ import annotations

import json
from typing import Any

BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 3
TOKENS_PER_ATTACHMENT = 85


def count_text(text: str) -> int:
    """Tokens of a text: its UTF-8 bytes divided by four, rounded up."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size // BYTES_PER_TOKEN)


def count_json(value: Any) -> int:
    """Tokens of a value written as compact JSON (tools, schemas, arguments)."""
    return count_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def count_content(content: Any) -> int:
    """Tokens of a message's content: a text, or a list of parts.

    A part that is no text counts `TOKENS_PER_ATTACHMENT`.
    """
    if content is None:
        return 0
    if isinstance(content, str):
        return count_text(content)
    total = 0
    for part in content:
        text = part_text(part)
        if text is not None:
            total += count_text(text)
        elif part.get("type") in ("tool_use", "tool_result"):
            inner = part.get("input", part.get("content", ""))
            total += count_text(inner) if isinstance(inner, str) else count_json(inner)
        else:
            total += TOKENS_PER_ATTACHMENT
    return total


def part_text(part: Any) -> str | None:
    """The text of a content part, or `None` for images, sounds, files and tool traffic."""
    if isinstance(part, str):
        return part
    text = part.get("text") if part.get("type") in ("text", "input_text", "output_text") else None
    return text if isinstance(text, str) else None


def plain_text(content: Any) -> str:
    """All text of a content, its parts joined by line ends."""
    if isinstance(content, str):
        return content
    return "\n".join(text for part in content or () if (text := part_text(part)) is not None)


def cut_text(text: str, tokens: int) -> str:
    """The longest beginning of `text` that has at most `tokens` tokens and splits no character."""
    raw = text.encode("utf-8", "surrogatepass")
    return raw[: tokens * BYTES_PER_TOKEN].decode("utf-8", "ignore")


def slice_text(text: str, tokens: int) -> list[str]:
    """`text` in order, in pieces of about `tokens` tokens.

    They are counted in characters, so that no character is split.
    """
    step = tokens * BYTES_PER_TOKEN
    return [text[start : start + step] for start in range(0, len(text), step)]
