"""Handlers on their own."""

import asyncio

import httpx2
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from penstock import InvalidTask, TaskConfig
from penstock.testing import SimulatedProvider, run_handler, run_virtually


class City(BaseModel):
    name: str
    days: int = 1


class Translator:
    """A handler as an application has it: its SDK comes with the transport."""

    def connect(self, transport):
        self.client = AsyncOpenAI(
            base_url="http://nobody.test/v1",
            api_key="none",
            http_client=httpx2.AsyncClient(transport=transport),
        )

    async def run(self, context):
        reply = await self.client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": f"Translate: {context.data}"}]
        )
        context.progress(1, 2, "translated")
        kept = await context.step("keep", keep, reply.choices[0].message.content)
        return kept["text"]


async def keep(text):
    return {"text": text}


async def test_result_steps_calls_and_progress():
    translator = Translator()
    with SimulatedProvider() as provider:

        def connect(transport):
            translator.connect(transport)
            translator.client = translator.client.with_options(base_url=provider.base_url)

        run = await run_handler(translator.run, "one", replies=["un"], provider=provider, connect=connect)
    assert run.result == "un"
    assert run.step_names == ["POST /v1/chat/completions", "keep"]
    assert run.steps[0].result["choices"][0]["message"]["content"] == "un"
    assert run.steps[1].result == {"text": "un"}
    assert [call.text for call in run.calls] == ["Translate: one"]
    assert run.progress == [(1, 2, "translated")]


async def test_data_models_plain_functions_and_scopes():
    def plain(context, city):
        with context.sync.branch("left"):
            return context.sync.step("stay", lambda: f"{city.days} days in {city.name}")

    run = await run_handler(plain, {"name": "Oslo", "days": 3}, model=City)
    assert run.result == "3 days in Oslo"
    assert [(step.name, step.scope) for step in run.steps] == [("stay", "/left")]
    with pytest.raises(InvalidTask, match="days"):
        await run_handler(plain, {"name": "Oslo", "days": "x"}, model=City)


@pytest.mark.parametrize("plain", [False, True])
async def test_what_a_handler_raises_is_raised(plain):
    def fails(context):
        raise LookupError("as it was meant")

    async def fails_too(context):
        fails(context)

    with pytest.raises(LookupError, match="as it was meant"):
        await run_handler(fails if plain else fails_too)


def test_in_virtual_time_with_retries():
    async def patient(context):
        if context.attempt < 3:
            raise RuntimeError("not yet")
        await asyncio.sleep(30 * 86_400)
        return context.attempt

    run = run_virtually(run_handler, patient, config=TaskConfig(retry_delay=3600, timeout=None))
    assert run.result == 3
