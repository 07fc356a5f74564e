"""OpenAI's embeddings: vectors of hashed words, so that texts that share words lie near each other."""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Iterator
from typing import Any
from zlib import crc32

from penstock.simulator import checks
from penstock.simulator.openai_wire import OpenAIFaces
from penstock.simulator.tokens import count_text
from penstock.simulator.wire import Call, Frame, Json, Reply, invalid

_WORD = re.compile(r"\w+")
MAX_INPUTS = 2048


def embed(text: str, dimensions: int) -> list[float]:
    """A vector of length 1 (Euclidean) that depends on nothing but the words of the text."""
    vector = [0.0] * dimensions
    for word in _WORD.findall(text.lower()) or [text]:
        drawn = crc32(word.encode("utf-8", "surrogatepass"))
        vector[(drawn >> 1) % dimensions] += 1.0 if drawn & 1 else -1.0
    length = math.sqrt(sum(value * value for value in vector))
    if length == 0:
        # Words of opposite sign met in one place; any unit vector will do.
        vector[0] = length = 1.0
    return [value / length for value in vector]


class EmbeddingsWire(OpenAIFaces):
    """`POST /v1/embeddings`. It has no output tokens and cannot stream."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions

    def parse(self, body: Json, path_parameters: Json) -> Call:
        model = checks.need_model(body, path_parameters.get("deployment"))
        if "input" not in body:
            raise invalid("input", "Missing required parameter: 'input'.", "missing_required_parameter")
        texts, tokens = _parse_input(body["input"])
        encoding = body.get("encoding_format", "float")
        if encoding not in ("float", "base64"):
            raise invalid(
                "encoding_format", f"Invalid value for 'encoding_format': {encoding!r}.", "invalid_value"
            )
        dimensions = checks.optional_integer(body, "dimensions", 1, 4096) or self._dimensions
        return Call(
            model=model,
            input_tokens=tokens,
            cap=0,
            extra={"texts": texts, "base64": encoding == "base64", "dimensions": dimensions},
        )

    def plain(self, call: Call, reply: Reply, number: int) -> Json:
        data = []
        for index, text in enumerate(call.extra["texts"]):
            vector: Any = embed(text, call.extra["dimensions"])
            if call.extra["base64"]:
                vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
            data.append({"object": "embedding", "index": index, "embedding": vector})
        usage = {"prompt_tokens": call.input_tokens, "total_tokens": call.input_tokens}
        return {"object": "list", "data": data, "model": call.model, "usage": usage}

    def frames(self, call: Call, reply: Reply, number: int, chunk_tokens: int) -> Iterator[Frame]:
        return iter(())


def _parse_input(given: Any) -> tuple[list[str], int]:
    items = given if isinstance(given, list) and not _is_tokens(given) else [given]
    if not items or len(items) > MAX_INPUTS:
        raise invalid(
            "input", f"Invalid 'input': between 1 and {MAX_INPUTS} items are allowed.", "invalid_value"
        )
    texts: list[str] = []
    total = 0
    for item in items:
        if isinstance(item, str) and item:
            texts.append(item)
            total += count_text(item)
        elif _is_tokens(item):
            texts.append(" ".join(map(str, item)))
            total += len(item)
        else:
            raise invalid(
                "input", "Invalid 'input': expected texts that are not empty, or tokens.", "invalid_value"
            )
    return texts, total


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int for token in value)
