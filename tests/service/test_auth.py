"""Keys, scopes and tenants: who may do what, on every route there is."""

import json
import time

import pytest

from penstock.model.api_key import ApiKey, TenantTerms, digest_of, hint_of, new_key
from penstock.runtime.settings import ModelLimits
from penstock.service.auth import KeyRing
from penstock.service.errors import HttpProblem
from penstock.service.tries import MOST_ADDRESSES, MOST_TRIES, Tries
from penstock.stores.sqlite.store import SqliteStore

PUBLIC = {"/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"}
CHANGING = {"POST", "PUT", "PATCH", "DELETE"}


def make_key(store, name, scopes=("submit", "read"), tenant="", **fields):
    """Put a key into a store, as another process would; the key."""
    key = new_key()
    made = ApiKey(name, digest_of(key), hint_of(key), tuple(scopes), tenant, time.time(), **fields)
    store.run(lambda tx: tx.put_key(made))
    return key


def bearer(key):
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def keys(tmp_path):
    """A handle on the store of the face, as another process has it."""
    with SqliteStore.open(tmp_path / "tasks.db", durability="normal") as store:
        yield store


def api_routes(app):
    """(method, path) of every operation, from what the application serves and from its document."""
    found = set()

    def walk(routes):
        for route in routes:
            if hasattr(route, "methods") and hasattr(route, "path"):
                found.update((method, route.path) for method in route.methods - {"HEAD", "OPTIONS"})
            walk(getattr(route, "routes", None) or getattr(getattr(route, "app", None), "routes", None) or ())

    walk(app.routes)
    for path, operations in app.openapi()["paths"].items():
        found.update((method.upper(), path) for method in operations if method.upper() in CHANGING | {"GET"})
    return sorted(found)


def filled(path):
    """The path with something in the place of its parameters."""
    parts = ["0" * 32 if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts)


async def test_every_route_asks_for_a_good_key_of_a_sufficient_scope(serve, keys):
    nothing = make_key(keys, "nothing", scopes=("none",), tenant="acme")
    expired = make_key(keys, "expired", expires_at=time.time() - 1)
    revoked = make_key(keys, "revoked", revoked_at=time.time() - 1)
    served = await serve()
    served.service.keys.tries = Tries(lambda: 0.0)
    served.service.keys.tries.failed = lambda address: 0
    operations = [one for one in api_routes(served.app) if one[1] not in PUBLIC]
    assert len(operations) > 30
    async with served.http() as http:
        for method, path in operations:
            for headers, status, code in (
                ({}, 401, "missing_api_key"),
                (bearer("pk_" + "x" * 43), 401, "invalid_api_key"),
                ({"x-api-key": "sk-wrong"}, 401, "invalid_api_key"),
                ({"authorization": "Basic cGs6cGs="}, 401, "missing_api_key"),
                (bearer(expired), 401, "invalid_api_key"),
                (bearer(revoked), 401, "invalid_api_key"),
                (bearer(nothing), 403, "scope_missing"),
            ):
                answer = await http.request(method, filled(path), headers=headers)
                assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), (method, path)


async def test_a_key_that_only_reads_changes_nothing_and_one_that_only_submits_sees_nothing(serve, keys):
    reads = make_key(keys, "reads", scopes=("read",), tenant="acme")
    submits = make_key(keys, "submits", scopes=("submit",), tenant="acme")
    served = await serve()
    async with served.http() as http:
        for method, path in api_routes(served.app):
            if path in PUBLIC:
                continue
            key = reads if method in CHANGING else submits
            answer = await http.request(method, filled(path), headers=bearer(key))
            # The gateway's own reading routes belong to whoever may call it.
            if method == "GET" and path.startswith("/v1/"):
                assert answer.status_code in (200, 403, 404), (method, path, answer.text)
            else:
                assert answer.status_code == 403, (method, path, answer.status_code, answer.text)


async def test_a_tenant_sees_and_touches_its_own_alone(serve, keys):
    ours = make_key(keys, "ours", scopes=("admin",), tenant="acme")
    theirs = make_key(keys, "theirs", scopes=("admin",), tenant="beta")
    served = await serve()
    served.manager.pause()
    async with served.http() as http:
        task = {"task_type": "llm_call", "payload": {"prompt": "of acme"}, "priority": 20}
        id = (await http.post("/tasks", json=task, headers=bearer(ours))).json()["task_id"]
        foreign = {**task, "tenant": "acme"}
        assert (await http.post("/tasks", json=foreign, headers=bearer(theirs))).status_code == 403
        assert (await http.get(f"/tasks/{id}", headers=bearer(ours))).status_code == 200
        listed = (await http.get("/tasks", headers=bearer(theirs))).json()
        assert "of acme" not in json.dumps(listed)
        assert id not in json.dumps(listed)
        for method, path in api_routes(served.app):
            if "{" not in path:
                continue
            answer = await http.request(method, path_with(path, id), headers=bearer(theirs))
            # A batch of any name may be begun, a webhook of any name made: they are the caller's own then.
            if answer.status_code < 400:
                assert "of acme" not in answer.text, (method, path)
            assert answer.status_code != 500, (method, path, answer.text)
        view = await served.engine.get(id)
        assert view.status == "queued"
        assert view.tenant == "acme"


def path_with(path, id):
    return "/".join(id if part.startswith("{") else part for part in path.split("/"))


async def test_only_an_admin_of_no_tenant_touches_what_is_everybodys(serve, keys):
    local = make_key(keys, "local", scopes=("admin",), tenant="acme")
    whole = make_key(keys, "whole", scopes=("admin",))
    served = await serve()
    async with served.http() as http:
        switch = {"strategy": "fifo"}
        assert (await http.put("/scheduler/strategy", json=switch, headers=bearer(local))).status_code == 403
        assert (await http.get("/metrics", headers=bearer(local))).status_code == 403
        assert (await http.put("/scheduler/strategy", json=switch, headers=bearer(whole))).status_code == 200
        assert (await http.get("/metrics", headers=bearer(whole))).status_code == 200


async def test_what_another_process_grants_takes_effect_while_the_server_runs(serve, keys, eventually):
    served = await serve(
        strategy="fair", tenants={"beta": ModelLimits(requests_per_minute=7)}, requests_per_minute=600
    )
    async with served.http() as http:
        assert (await http.get("/tasks")).status_code == 200
        key = make_key(keys, "late", tenant="acme")
        await eventually(lambda: served.service.keys.needed)
        assert (await http.get("/tasks")).status_code == 401
        assert (await http.get("/tasks", headers={"x-api-key": key})).status_code == 200
        terms = TenantTerms("acme", requests_per_minute=5, max_concurrent=2, budget=10**12, weight=4.0)
        keys.run(lambda tx: tx.put_terms(terms))
        limits = lambda: served.engine.settings.limits  # noqa: E731
        await eventually(lambda: "acme" in limits().tenants)
        assert limits().tenants["acme"] == ModelLimits(5, None, None, 2)
        assert float(limits().tenant_budgets["acme"]) == 1.0
        assert limits().tenants["beta"] == ModelLimits(7)
        assert served.engine.ranker.weight("acme") == 4.0
        assert served.engine.ranker.weight("beta") == 1.0
        assert {use.key for use in served.engine.node.gate.usage(0.0)} >= {
            "rpm of acme",
            "rpm of beta",
            "rpm",
        }
        keys.run(lambda tx: tx.put_terms(TenantTerms("beta", tokens_per_minute=9)))
        await eventually(lambda: limits().tenants["beta"] == ModelLimits(7, None, 9))
        for tenant in ("acme", "beta"):
            keys.run(lambda tx, tenant=tenant: tx.put_terms(TenantTerms(tenant)))
        await eventually(lambda: limits().tenants == {"beta": ModelLimits(7)})
        assert limits().tenant_budgets == {}
        assert served.engine.ranker.weight("acme") == 1.0
        keys.run(lambda tx: tx.drop_key("late"))
        await eventually(lambda: not served.service.keys.needed)


async def test_a_tenants_budget_and_limit_hold_for_its_calls(serve, keys):
    poor = make_key(keys, "poor", tenant="poor")
    keys.run(lambda tx: tx.put_terms(TenantTerms("poor", budget=1)))
    served = await serve()
    task = {"task_type": "llm_call", "payload": {"prompt": "hi", "model": "gpt-4o-mini"}}
    async with served.http() as http:
        answer = await http.post("/tasks", json=task, headers=bearer(poor))
    assert (answer.status_code, answer.json()["error"]["code"]) == (402, "budget_exhausted")


async def test_without_keys_only_this_machine_by_its_own_name_is_answered(serve):
    served = await serve()
    port = served.url.rpartition(":")[2]
    async with served.http() as http:
        for headers, code in (
            ({"host": "evil.example"}, "unknown_host"),
            ({"host": f"127.0.0.1.evil.example:{port}"}, "unknown_host"),
            ({"host": f"evil.example@127.0.0.1:{port}"}, None),
            ({"origin": "https://evil.example"}, "foreign_origin"),
            ({"origin": "null"}, "foreign_origin"),
            ({"x-forwarded-for": "203.0.113.9"}, "keys_needed"),
            ({"host": f"localhost:{port}"}, None),
            ({"host": f"[::1]:{port}", "origin": f"http://localhost:{port}"}, None),
        ):
            answer = await http.get("/tasks", headers=headers)
            found = answer.json()["error"]["code"] if answer.status_code != 200 else None
            assert found == code, headers
            assert answer.status_code == (200 if code is None else 403)
        assert (await http.get("/healthz", headers={"host": "evil.example"})).status_code == 200


class Caller:
    def __init__(self, host, **headers):
        self.client = type("Client", (), {"host": host})
        self.headers = {"host": "localhost", **headers}


async def test_without_keys_other_machines_are_refused():
    ring = KeyRing()
    for host in ("203.0.113.9", "10.0.0.1", "::ffff:203.0.113.9", "fe80::1%eth0", "nonsense"):
        with pytest.raises(HttpProblem) as refused:
            await ring.principal(Caller(host))
        assert refused.value.status == 403
    for host in ("127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"):
        assert (await ring.principal(Caller(host))).sees_all
    with pytest.raises(HttpProblem) as refused:
        await KeyRing(required=True).principal(Caller("127.0.0.1"))
    assert refused.value.status == 401


async def test_wrong_keys_are_counted_by_address_and_right_ones_always_pass(serve, keys):
    good = make_key(keys, "good")
    served = await serve()
    async with served.http() as http:
        seen = [
            (await http.get("/tasks", headers=bearer("pk_wrong"))).status_code for _ in range(MOST_TRIES + 2)
        ]
        assert seen == [401] * MOST_TRIES + [429] * 2
        blocked = await http.get("/tasks", headers=bearer("pk_wrong"))
        assert 1 <= int(blocked.headers["retry-after"]) <= 60
        assert (await http.get("/tasks", headers=bearer(good))).status_code == 200


def test_tries_are_bounded_in_memory_and_forgotten_in_time():
    now = [0.0]
    tries = Tries(lambda: now[0])
    for place in range(MOST_ADDRESSES + 50):
        tries.failed(f"10.{place >> 16}.{place >> 8 & 255}.{place & 255}")
    assert len(tries) == MOST_ADDRESSES
    for place in range(MOST_TRIES):
        assert tries.failed(f"2001:db8::{place:x}") == 0
    assert tries.failed("2001:db8::ffff") == 60
    now[0] = 60.0
    assert tries.failed("2001:db8::1") == 0


async def test_rotation_keeps_the_key_before_for_as_long_as_was_said(tmp_path):
    now = [100.0]
    old, new = new_key(), new_key()
    key = ApiKey("ci", digest_of(new), hint_of(new), ("read",), "", 0.0, 500.0, None, digest_of(old), 200.0)
    ring = KeyRing(clock=lambda: now[0])
    ring._keys = {key.digest: key, key.old_digest: key}
    assert ring.identify(bearer(old), "").name == ring.identify(bearer(new), "").name == "ci"
    now[0] = 200.0
    with pytest.raises(HttpProblem, match="expired"):
        ring.identify(bearer(old), "")
    assert ring.identify(bearer(new), "").scopes == {"read"}
    now[0] = 500.0
    with pytest.raises(HttpProblem, match="expired"):
        ring.identify(bearer(new), "")


async def test_a_stranger_cannot_make_the_server_read_a_large_body(serve, keys):
    good = make_key(keys, "good")
    served = await serve()
    large = json.dumps({"task_type": "llm_call", "payload": {"prompt": "x" * 100_000}}).encode()

    async def trickle():
        for start in range(0, len(large), 10_000):
            yield large[start : start + 10_000]

    headers = {"content-type": "application/json"}
    async with served.http() as http:
        for body in (large, trickle()):
            answer = await http.post("/tasks", content=body, headers=headers)
            assert answer.status_code == 401
        answer = await http.post("/tasks", content=large, headers=headers | bearer(good))
        assert answer.status_code == 202


def test_a_key_has_256_bits_and_only_its_hash_is_kept(tmp_path):
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("pk_") and len(key) == 46 for key in keys)
    with SqliteStore.open(tmp_path / "s.db") as store:
        key = make_key(store, "one")
        store.compact()
    assert key.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
