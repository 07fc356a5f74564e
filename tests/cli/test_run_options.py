"""Options: limits, endpoints, aliases of the cookbook script, refusals that name the setting."""

from dataclasses import replace

import pytest

from penstock.admission import RateLimit
from penstock.cli.run.cookbook import translate
from penstock.cli.run.guard import advice
from penstock.cli.run.options import RunOptions, addresses, check_paths, endpoints, read_limit
from penstock.cli.run.summary import duration, exit_code
from penstock.cli.run.wiring import settings_of
from penstock.errors import CallFailed, ConfigurationError

OPTIONS = RunOptions("in.jsonl", "out.jsonl")
LOCAL = "http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("requests:500/10s", RateLimit("requests", 500, 10.0)),
        ("tokens:90_000/m", RateLimit("tokens", 90_000, 60.0)),
        ("tokens:5/2h@gpt-4o", RateLimit("tokens", 5, 7200.0, "gpt-4o")),
    ],
)
def test_limits(text, limit):
    assert read_limit(text) == limit


@pytest.mark.parametrize("text", ["500", "requests:0/10s", "calls:5/s", "requests:5/0s", "requests:5"])
def test_limits_that_are_none(text):
    with pytest.raises(ConfigurationError, match="--limit"):
        read_limit(text)


def test_a_key_is_needed_but_at_home():
    with pytest.raises(ConfigurationError, match=r"no key for api\.openai\.com: set .* OPENAI_API_KEY"):
        endpoints(OPTIONS, {})
    assert endpoints(OPTIONS, {"OPENAI_API_KEY": "k"})[0].api_key == "k"
    assert endpoints(replace(OPTIONS, base_url=(LOCAL,)), {})[0].api_key is None
    assert endpoints(OPTIONS, {"OPENAI_BASE_URL": LOCAL})[0].base_url == LOCAL
    with pytest.raises(ConfigurationError, match="MY_KEY, which is not set"):
        endpoints(replace(OPTIONS, base_url=(LOCAL,), api_key_env=("MY_KEY",)), {})
    with pytest.raises(ConfigurationError, match="MY_KEY holds spaces"):
        endpoints(replace(OPTIONS, api_key_env=("MY_KEY",)), {"MY_KEY": "k\n"})


def test_several_addresses_and_keys():
    keys = {"A": "a", "B": "b"}
    two = replace(OPTIONS, base_url=("https://x.test/v1,https://y.test/v1",), api_key_env=("A", "B"))
    assert [(one.base_url, one.api_key) for one in endpoints(two, keys)] == [
        ("https://x.test/v1", "a"),
        ("https://y.test/v1", "b"),
    ]
    one = replace(OPTIONS, base_url=("https://x.test/v1",), api_key_env=("A,B",))
    assert [one.api_key for one in endpoints(one, keys)] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"zone": "Mars/Base"}, "--zone"),
        ({"profile": "nobody"}, "--profile"),
        ({"priority": "highest"}, "priority"),
        ({"price": ("gpt",)}, "--price"),
        ({"limit": ("x",)}, "--limit"),
    ],
)
def test_wrong_settings_are_named(change, says):
    with pytest.raises(ConfigurationError, match=says):
        settings_of(replace(OPTIONS, **change))


def test_paths(tmp_path):
    source = tmp_path / "in.jsonl"
    given = RunOptions(str(source), str(tmp_path / "out.jsonl"))
    with pytest.raises(ConfigurationError, match="does not exist"):
        check_paths(given)
    source.touch()
    check_paths(given)
    for wrong in ({"output": str(source)}, {"output": str(tmp_path)}, {"output": str(tmp_path / "no" / "o")}):
        with pytest.raises(ConfigurationError):
            check_paths(replace(given, **wrong))
    with pytest.raises(ConfigurationError, match="is a folder"):
        check_paths(replace(given, input=str(tmp_path)))


def test_paths_that_are_no_files(tmp_path):
    (tmp_path / "in.jsonl").touch()
    given = RunOptions(str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"))
    for wrong in ({"output": "/dev/null"}, {"errors": "/dev/null"}, {"store": "/dev/null"}):
        with pytest.raises(ConfigurationError, match="no regular file"):
            check_paths(replace(given, **wrong))
    for store in (given.input, given.output, f"sqlite:///{given.output}"):
        with pytest.raises(ConfigurationError, match="a file of its own"):
            check_paths(replace(given, store=store))
    check_paths(replace(given, store="memory"))


def test_addresses_are_shown_without_secrets():
    secret = replace(OPTIONS, base_url=("https://me:word@x.test:80/v1?key=k",))
    assert addresses(secret) == ["https://x.test:80/v1"]
    with pytest.raises(ConfigurationError, match="Port out of range"):
        endpoints(replace(OPTIONS, base_url=("http://127.0.0.1:99999/v1",)), {"OPENAI_API_KEY": "k"})


def test_advice_hides_the_key():
    error = CallFailed("401: your key \x1b[2J canary-1 is wrong", reason="auth")
    text = advice(error, LOCAL, "OPENAI_API_KEY", ["canary-1"])
    assert "canary-1" not in text
    assert text.isprintable()


def test_cookbook_flags():
    ours, notes = translate(
        [
            *("--requests_filepath", "in.jsonl", "--save_filepath=out.jsonl", "--max_attempts", "5"),
            *("--request_url", "http://localhost:1/v1/embeddings", "--max_requests_per_minute", "1500.0"),
            *("--token_encoding_name", "cl100k_base", "--logging_level", "20", "--api_key", "k", "--quiet"),
        ]
    )
    assert ours == [
        *("in.jsonl", "--output", "out.jsonl", "--attempts", "5"),
        *("--base-url", "http://localhost:1/v1", "--endpoint", "/v1/embeddings", "--rpm", "1500"),
        *("--api_key", "k", "--quiet"),
    ]
    assert [note.split()[0] for note in notes] == ["--token_encoding_name", "--logging_level"]


def test_cookbook_address_of_azure():
    url = "https://x.openai.azure.com/openai/deployments/mine/chat/completions?api-version=2024-10-21"
    ours, _ = translate(["--request_url", url])
    base = "https://x.openai.azure.com/openai/deployments/mine?api-version=2024-10-21"
    assert ours == ["--base-url", base, "--endpoint", "/v1/chat/completions", "--model", "mine"]
    with pytest.raises(ConfigurationError, match="no model call"):
        translate(["--request_url", "https://x.test/v1/files"])


def test_exit_codes():
    assert [exit_code(*given) for given in OUTCOMES] == [0, 3, 4, 130]


OUTCOMES = [
    (False, 0, {}),
    (False, 1, {"bad_json": 1}),
    (False, 2, {"bad_json": 1, "budget_exhausted": 1}),
    (True, 1, {"budget_exhausted": 1}),
]


def test_durations():
    assert [duration(s) for s in (3.14, 245, 7800, 200_000)] == [
        "3.1 s",
        "4 min 05 s",
        "2 h 10 min",
        "2 days 7 h",
    ]
