"""Spans of a task and its calls, as OpenTelemetry's own library collects them."""

import subprocess
import sys

import pytest

from penstock import TaskType
from penstock.service import tracing
from penstock.service.tracing import Tracing, context_of

sdk = pytest.importorskip("opentelemetry.sdk.trace")


@pytest.fixture
def exporter():
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter):
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("test")
    provider.shutdown()


def watch(served, tracer):
    found = Tracing(tracer, served.engine)
    served.engine.on_added.append(found.added)
    served.engine.node.admitter.on_call.append(found.called)


async def test_a_task_is_one_trace_from_submission_to_settlement(serve, exporter, tracer):
    served = await serve()
    watch(served, tracer)
    with tracer.start_as_current_span("client") as client:
        id = await served.manager.submit_task(TaskType.LLM_CALL, {"prompt": "hello", "model": "gpt-4o-mini"})
    await served.manager.wait_for_task(id, 20)
    spans = {one.name: one for one in exporter.get_finished_spans()}
    assert set(spans) == {"client", "submit llm_call", "wait", "chat gpt-4o-mini", "settle"}
    submit, call = spans["submit llm_call"], spans["chat gpt-4o-mini"]
    assert submit.links[0].context.span_id == client.get_span_context().span_id
    own = [submit, spans["wait"], call, spans["settle"]]
    assert len({one.context.trace_id for one in own}) == 1
    assert {one.attributes["penstock.task.id"] for one in own} == {id}
    starts = [one.start_time for one in own]
    assert starts == sorted(starts)
    assert all(one.end_time >= one.start_time for one in own)
    told = call.attributes
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.request.model"] == "gpt-4o-mini"
    assert told["gen_ai.provider.name"] == "openai"
    assert told["gen_ai.usage.input_tokens"] > 0
    assert told["gen_ai.usage.output_tokens"] > 0
    assert told["server.address"] == "127.0.0.1"
    assert str(told["server.port"]) in served.simulator.base_url
    assert call.kind.name == "CLIENT"
    assert submit.kind.name == "PRODUCER"
    assert "key-1f9c" not in repr([(one.name, dict(one.attributes)) for one in own])


async def test_a_gateway_call_is_traced_too(serve, exporter, tracer, eventually):
    served = await serve()
    watch(served, tracer)
    async with served.http() as http:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
        assert (await http.post("/v1/chat/completions", json=body)).status_code == 200
    # Its reply does not wait for the settlement to be durable.
    wanted = {"wait", "chat gpt-4o-mini", "settle"}
    await eventually(lambda: wanted <= {one.name for one in exporter.get_finished_spans()})


def test_the_trace_of_a_task_follows_from_its_id():
    from opentelemetry import trace

    first, again, other = (
        trace.get_current_span(context_of(id)).get_span_context() for id in ("a", "a", "b")
    )
    assert first.trace_id == again.trace_id != other.trace_id
    assert first.is_valid
    assert first.is_remote
    assert first.trace_flags.sampled


def test_without_the_library_nothing_is_traced():
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from penstock.service.tracing import trace_engine\n"
        "assert trace_engine(None) is False\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=path())
    assert done.returncode == 0, done.stderr


def path():
    import os
    from pathlib import Path

    return {**os.environ, "PYTHONPATH": str(Path(tracing.__file__).resolve().parents[2])}
