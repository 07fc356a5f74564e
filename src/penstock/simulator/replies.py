"""What the simulated model says: a scripted reply, a tool call, JSON by a schema, or filler."""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from statistics import NormalDist

from penstock.simulator.chance import draw_integer, draw_unit
from penstock.simulator.config import Output, Script, SimulatorConfig
from penstock.simulator.schemas import instance_of
from penstock.simulator.tokens import BYTES_PER_TOKEN, count_text, cut_text
from penstock.simulator.wire import Call, Json, Reply

# Words of three letters: with its space each is one token of the simulator's tokenizer.
_FILLER = "the old dam has run dry but one man can set its new pen now and let all the sea out for you too "
_MARKER = re.compile(r"\[\[out=(\d{1,7})\]\]")
_GROUP = re.compile(r"\$(\d)")
_NORMAL = NormalDist()


def output_size(output: Output, seed: int, digest: bytes, user_text: str) -> int:
    """Output tokens the model wants to say, before any cap of the request.

    Equal for equal requests and seeds.

    `[[out=N]]` in the last user text asks for exactly N.
    """
    marker = _MARKER.search(user_text) if "[[out=" in user_text else None
    if marker is not None:
        return max(1, int(marker[1]))
    if output.sigma == 0:
        return min(output.maximum, max(1, round(output.mean)))
    # `mean` is the mean of the lognormal itself, hence the correction of its location.
    location = math.log(output.mean) - output.sigma**2 / 2
    drawn = math.exp(location + output.sigma * _NORMAL.inv_cdf(draw_unit(seed, b"size:" + digest)))
    return min(output.maximum, max(1, round(drawn)))


def filler(tokens: int, seed: int, digest: bytes) -> str:
    """A text of exactly `tokens` tokens that depends on the seed and the request."""
    words = len(_FILLER) // BYTES_PER_TOKEN
    start = draw_integer(seed, b"text:" + digest) % words * BYTES_PER_TOKEN
    size = tokens * BYTES_PER_TOKEN
    text = (_FILLER * (2 + size // len(_FILLER)))[start : start + size]
    return text[:-1] + "."


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def find_script(
    scripts: tuple[Script, ...], user_text: str, called: frozenset[str] = frozenset()
) -> tuple[Script, re.Match[str]] | None:
    """The first script whose pattern is found in the text; not one that calls a tool `once`, when that is
    among those `called` since."""
    for script in scripts:
        if script.once and script.tool in called:
            continue
        match = _compiled(script.pattern).search(user_text)
        if match is not None:
            return script, match
    return None


def fill_groups(reply: str, match: re.Match[str]) -> str:
    """Put the groups of a match in the places of `$0`..`$9`; a group that is not there leaves its sign."""

    def group(sign: re.Match[str]) -> str:
        number = int(sign[1])
        return sign[0] if number > (match.re.groups or 0) else match[number] or ""

    return _GROUP.sub(group, reply)


def compose(config: SimulatorConfig, call: Call, digest: bytes) -> Reply:
    """The reply to a call: the same for the same configuration and request."""
    if call.cap == 0:
        return Reply("", 0)
    found = find_script(config.scripts, call.user_text, call.called)
    if found is not None:
        script, match = found
        if script.tool is not None:
            return _tool_reply(call, script.tool, dict(script.tool_arguments or {}))
        return _capped(call, fill_groups(script.reply, match))
    if call.forced_tool is not None:
        schema = next(tool.schema for tool in call.tools if tool.name == call.forced_tool)
        arguments = instance_of(schema, config.seed, digest)
        return _tool_reply(call, call.forced_tool, arguments if isinstance(arguments, dict) else {})
    if call.json_schema is not None:
        return _capped(
            call, json.dumps(instance_of(call.json_schema, config.seed, digest), ensure_ascii=False)
        )
    wanted = output_size(config.output, config.seed, digest, call.user_text)
    size = wanted if call.cap is None else min(wanted, call.cap)
    return Reply(filler(size, config.seed, digest), size, cut=size < wanted)


def _capped(call: Call, text: str) -> Reply:
    tokens = count_text(text)
    if call.cap is None or tokens <= call.cap:
        return Reply(text, tokens)
    return Reply(cut_text(text, call.cap), call.cap, cut=True)


def _tool_reply(call: Call, name: str, arguments: Json) -> Reply:
    text = json.dumps(arguments, ensure_ascii=False)
    tokens = count_text(name) + count_text(text)
    if call.cap is None or tokens <= call.cap:
        return Reply(text, tokens, tool=name)
    return Reply(cut_text(text, call.cap), call.cap, cut=True, tool=name)
