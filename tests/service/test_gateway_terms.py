"""Idempotency keys, terms in headers, several providers, and what can never go."""

import asyncio
from dataclasses import replace

from penstock import APIConfig, OpenAICompatibleClient
from penstock.admission import RateLimit
from penstock.service.auth import KeyRing, Principal
from penstock.simulator import Faults, Latency, Simulator, SimulatorConfig

MODEL = "gpt-4o-mini"
CHAT = "/v1/chat/completions"


def body(text="Say hello", **more):
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


def booked(served):
    return served.engine.peek(lambda reader: reader.recent_reservations(0.0))


class Tenants(KeyRing):
    """Whoever says `Bearer NAME` is a key of the tenant NAME, without the scope admin."""

    needed = True

    async def principal(self, request):
        return self.identify(request.headers, "")

    def identify(self, headers, address):
        name = headers["authorization"].removeprefix("Bearer ")
        return Principal(name, name, frozenset({"submit", "read"}))


def of(tenant, **more):
    return {"authorization": f"Bearer {tenant}", **more}


async def test_calls_with_one_key_share_one_paid_call(serve, eventually):
    served = await serve(simulator=SimulatorConfig(latency=Latency(0.2)), keys=Tenants())
    async with served.http() as http:
        one = of("ada", **{"idempotency-key": "k1"})
        first, second = await asyncio.gather(*(http.post(CHAT, json=body(), headers=one) for _ in range(2)))
        assert first.json() == second.json()
        assert {first.headers.get("x-penstock-replayed"), second.headers.get("x-penstock-replayed")} == {
            None,
            "true",
        }
        later = await http.post(CHAT, json=body(), headers=one)
        assert later.json() == first.json()
        assert later.headers["x-penstock-cost"] == "0"
        assert len(booked(served)) == 1
        other = await http.post(CHAT, json=body("Say goodbye"), headers=one)
        assert other.status_code == 409
        assert other.json()["error"]["code"] == "idempotency_conflict"
        assert other.headers["x-should-retry"] == "false"
        foreign = await http.post(CHAT, json=body(), headers=of("bob", **{"idempotency-key": "k1"}))
        assert foreign.status_code == 200
    assert len(booked(served)) == 2


async def test_a_key_outlives_a_restart(serve):
    key = {"idempotency-key": "k1"}
    served = await serve()
    async with served.http() as http:
        first = await http.post(CHAT, json=body(), headers=key)
    await serve.stop(served)
    served = await serve()
    async with served.http() as http:
        again = await http.post(CHAT, json=body(), headers=key)
    assert again.headers["x-penstock-replayed"] == "true"
    assert again.json() == first.json()


async def test_streams_share_by_key(serve):
    served = await serve(simulator=SimulatorConfig(latency=Latency(0.1)))
    key = {"idempotency-key": "stream"}
    async with served.http() as http:
        replies = await asyncio.gather(
            *(http.post(CHAT, json=body(stream=True), headers=key) for _ in range(3))
        )
    texts = {"".join(line for line in one.text.splitlines(True) if line[0] != ":") for one in replies}
    bodies = {text.replace("\n", "") for text in texts}
    assert len(bodies) == 1
    assert bodies.pop().endswith("data: [DONE]")
    assert len(booked(served)) == 1


async def test_a_failed_call_is_not_kept_for_its_key(serve):
    served = await serve(simulator=SimulatorConfig(models=(MODEL,)))
    key = {"idempotency-key": "k"}
    async with served.http() as http:
        wrong = {**body(), "model": "none"}
        assert (await http.post(CHAT, json=wrong, headers=key)).status_code == 404
        assert (await http.post(CHAT, json=body(), headers=key)).status_code == 200


async def test_requests_that_are_none(serve):
    served = await serve(max_body=2_000)
    async with served.http() as http:
        for content in (b"{", b"[]", b"", b'"x"', b"\xff"):
            reply = await http.post(CHAT, content=content)
            assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_json")
            assert reply.json()["error"]["type"] == "invalid_request_error"
        assert (await http.post(CHAT, json={"messages": []})).json()["error"]["param"] == "model"
        large = await http.post(CHAT, json=body("x" * 3_000))
        assert large.status_code == 413
        for header, value in (
            ("x-penstock-priority", "101"),
            ("x-penstock-hold", "long"),
            ("x-penstock-budget", "-1"),
            ("x-penstock-deadline", "soon"),
            ("idempotency-key", ""),
        ):
            reply = await http.post(CHAT, json=body(), headers={header: value})
            assert (reply.status_code, reply.json()["error"]["param"]) == (400, header)
    assert booked(served) == []


async def test_what_can_never_fit_is_refused_for_good(serve):
    served = await serve(rates=(RateLimit("tokens", 50, 60.0),))
    async with served.http() as http:
        reply = await http.post(CHAT, json=body(max_tokens=100))
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "request_too_large"
    assert reply.headers["x-should-retry"] == "false"


async def test_budgets_of_a_call_and_of_all(serve):
    served = await serve(budget_limit=0.01)
    async with served.http() as http:
        capped = body(max_tokens=100)
        reply = await http.post(CHAT, json=capped, headers={"x-penstock-budget": "0.00001"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (402, "budget_exhausted")
        assert reply.headers["x-should-retry"] == "false"
        assert (await http.post(CHAT, json=capped, headers={"x-penstock-budget": "0.1"})).status_code == 200
        dear = await http.post(CHAT, json=body(max_tokens=100_000))
        assert (dear.status_code, dear.json()["error"]["code"]) == (402, "budget_exhausted")


async def test_only_admins_call_for_other_tenants(serve):
    served = await serve(keys=Tenants())
    async with served.http() as http:
        other = await http.post(CHAT, json=body(), headers=of("ada", **{"x-penstock-tenant": "bob"}))
        assert other.status_code == 403
        assert (await http.post(CHAT, json=body(), headers=of("ada"))).status_code == 200
    [row] = booked(served)
    assert row.tenant == "ada"


async def test_a_call_is_booked_to_its_task(serve, eventually):
    served = await serve()
    served.manager.register_type("mine", lambda context: "done")
    id = await served.manager.submit_task("mine")
    await served.manager.wait_for_task(id)
    async with served.http() as http:
        reply = await http.post(CHAT, json=body(), headers={"x-penstock-task-id": id})
        assert reply.status_code == 200
        unknown = await http.post(CHAT, json=body(), headers={"x-penstock-task-id": "f" * 32})
        assert unknown.status_code == 404
    used = reply.json()["usage"]["total_tokens"]

    def booked_to_task():
        view = served.engine.peek(lambda reader: reader.task(id))
        return view.input_tokens + view.output_tokens

    await eventually(lambda: booked_to_task() == used)


async def test_a_failing_provider_is_passed_over(serve):
    async with Simulator(SimulatorConfig(faults=Faults(error_500=1.0))) as bad, Simulator() as good:
        clients = [OpenAICompatibleClient(APIConfig("k", one.base_url)) for one in (bad, good)]
        served = await serve(clients=clients)
        async with served.http() as http:
            for number in range(3):
                reply = await http.post(CHAT, json=body(str(number)))
                assert reply.status_code == 200, reply.text


async def test_models_choose_their_provider(serve):
    async with Simulator(SimulatorConfig(models=("a",))) as one, Simulator() as two:
        clients = [
            OpenAICompatibleClient(APIConfig("k", one.base_url, models=("a",))),
            OpenAICompatibleClient(APIConfig("k", two.base_url, models=("b",))),
        ]
        served = await serve(clients=clients)
        async with served.http() as http:
            for model in ("a", "b"):
                assert (await http.post(CHAT, json={**body(), "model": model})).status_code == 200
            none = await http.post(CHAT, json={**body(), "model": "c"})
            assert (none.status_code, none.json()["error"]["code"]) == (404, "model_not_found")
            names = [model["id"] for model in (await http.get("/v1/models")).json()["data"]]
    assert names == ["a", "b"]


async def test_the_servers_own_key_never_leaks(serve):
    config = SimulatorConfig(api_key="the-right-key")
    served = await serve(simulator=config)
    async with served.http() as http:
        reply = await http.post(CHAT, json=body())
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_auth")
    assert "key-1f9c" not in reply.text


async def test_a_provider_that_is_away(serve):
    away = OpenAICompatibleClient(APIConfig("k", "http://127.0.0.1:9/v1"))
    served = await serve(clients=away)
    async with served.http() as http:
        for stream in (False, True):
            reply = await http.post(CHAT, json=body(stream=stream))
            assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_unreachable")
            assert reply.headers["x-should-retry"] == "true"
            assert "127.0.0.1:9" not in reply.text
    assert {one.state for one in booked(served)} <= {"released"}


async def test_limits_that_change_hold_at_once(serve):
    served = await serve(rates=(RateLimit("requests", 500, 60.0),))
    async with served.http() as http:
        first = await http.post(CHAT, json=body("1"))
        assert first.headers["x-ratelimit-limit-requests"] == "500"
        settings = served.engine.settings
        served.engine.adjust(
            replace(settings, limits=replace(settings.limits, rates=(RateLimit("requests", 900, 60.0),)))
        )
        second = await http.post(CHAT, json=body("2"))
    assert second.headers["x-ratelimit-limit-requests"] == "900"
