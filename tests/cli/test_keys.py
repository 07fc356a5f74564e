"""`penstock keys` and `penstock submit`."""

import json
import re

import pytest

from penstock.model.api_key import digest_of
from penstock.stores.sqlite.store import SqliteStore

KEY = re.compile(r"pk_[A-Za-z0-9_-]{43}")


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENSTOCK_STORE", raising=False)
    return tmp_path


def kept(folder, name="penstock.db"):
    with SqliteStore.open(folder / name) as store:
        return store.read(
            lambda reader: ({one.name: one for one in reader.api_keys()}, reader.tenant_terms())
        )


def test_a_key_is_printed_once_and_its_hash_is_kept(empty, penstock):
    terms = ("--requests-per-minute", "60", "--budget", "2.50", "--weight", "3", "--max-concurrent", "4")
    code, out, err = penstock("keys", "add", "ci", "--tenant", "acme", "--expires", "90d", *terms)
    assert code == 0
    key = out.strip()
    assert KEY.fullmatch(key)
    assert key not in err
    keys, granted = kept(empty)
    assert keys["ci"].digest == digest_of(key)
    assert keys["ci"].scopes == ("submit", "read")
    assert keys["ci"].expires_at - keys["ci"].created_at == pytest.approx(90 * 86_400)
    (acme,) = granted
    assert (acme.requests_per_minute, acme.budget, acme.weight, acme.max_concurrent) == (
        60,
        25 * 10**11,
        3.0,
        4,
    )
    for arguments in (("keys", "list"), ("keys", "list", "--json")):
        _, told, _ = penstock(*arguments)
        assert "ci" in told
        assert "acme" in told
        assert key not in told
        assert keys["ci"].digest not in told
    assert key.encode() not in (empty / "penstock.db").read_bytes()


def test_rotate_revoke_and_remove(empty, penstock):
    first = penstock("keys", "add", "ci", "--scopes", "admin")[1].strip()
    second = json.loads(penstock("keys", "rotate", "ci", "--overlap", "24h", "--json")[1])["key"]
    assert first != second
    one = kept(empty)[0]["ci"]
    assert (one.digest, one.old_digest) == (digest_of(second), digest_of(first))
    assert one.why_not(digest_of(first), one.created_at + 3600) is None
    assert one.why_not(digest_of(first), one.created_at + 90_000) == "expired"
    assert penstock("keys", "rotate", "ci")[0] == 0
    assert kept(empty)[0]["ci"].old_digest is None
    assert penstock("keys", "revoke", "ci")[0] == 0
    assert "revoked" in penstock("keys", "list")[1]
    assert penstock("keys", "rotate", "ci")[0] == 2
    assert penstock("keys", "remove", "ci")[0] == 0
    assert kept(empty)[0] == {}
    assert (
        "this machine only" in penstock("keys", "list")[1]
        or "own machine only" in penstock("keys", "list")[1]
    )


def test_terms_of_a_tenant_are_changed_shown_and_forgotten(empty, penstock):
    assert "requests_per_minute 9" in penstock("keys", "tenant", "acme", "--rpm", "9")[1]
    assert json.loads(penstock("keys", "tenant", "acme", "--weight", "0.5", "--json")[1]) == {
        "tenant": "acme",
        "requests_per_minute": 9,
        "weight": 0.5,
    }
    assert "nothing of its own" in penstock("keys", "tenant", "acme", "--reset")[1]
    assert kept(empty)[1] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "ci", "--scopes", "submit,root"), "'root'"),
        (("add", "ci", "--rpm", "5"), "--tenant"),
        (("add", "ci", "--tenant", "a", "--rpm", "0"), "requests_per_minute"),
        (("add", "ci", "--tenant", "a", "--budget", "much"), "no amount of money"),
        (("add", "c i"), "letters"),
        (("add", "ci", "--expires", "soon"), "90d"),
        (("revoke", "nobody"), "nobody"),
    ],
)
def test_what_a_user_can_mend(empty, penstock, arguments, said):
    penstock("keys", "add", "other")
    code, out, err = penstock("keys", *arguments)
    assert code == 2
    assert said in err
    assert not KEY.search(out)
    assert set(kept(empty)[0]) == {"other"}


def test_a_name_is_used_once(empty, penstock):
    assert penstock("keys", "add", "ci")[0] == 0
    code, out, err = penstock("keys", "add", "ci")
    assert (code, out) == (2, "")
    assert "already" in err


def test_a_task_is_submitted_to_a_store(probe, penstock, tmp_path):
    (tmp_path / "data.json").write_text('{"prompt": "hello", "model": "m"}')
    code, out, _ = penstock(
        "submit", "llm_call", "--data", "@data.json", "--priority", "high", "--tag", "a", "--tenant", "acme"
    )
    assert code == 0
    view = probe.view(out.strip())
    assert (view.type, view.priority, view.tenant, view.model) == ("llm_call", 30, "acme", "m")
    assert view.tags == ("a",)
    same = [penstock("submit", "own_type", "-d", "[1]", "--idempotency-key", "k")[1] for _ in range(2)]
    assert same[0] == same[1]
    for wrong, said in (
        (("llm_call", "-d", "{}"), "prompt"),
        (("llm_call", "-d", "{"), "no JSON"),
        (("llm_call", "-d", '{"prompt": "x"}', "--priority", "huge"), "huge"),
    ):
        code, _, err = penstock("submit", *wrong)
        assert code == 2
        assert said in err


def test_a_server_that_is_not_there_is_told(empty, penstock, monkeypatch):
    monkeypatch.setenv("PENSTOCK_API_KEY", "pk_secret_secret_secret")
    code, _, err = penstock("submit", "llm_call", "-d", "{}", "--server", "http://127.0.0.1:9")
    assert code == 2
    assert "127.0.0.1:9" in err
    assert "pk_secret" not in err
