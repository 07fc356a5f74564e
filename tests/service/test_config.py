"""One list of settings: file, environment and command line, in this order of weight."""

import json
import re
from pathlib import Path

import pytest

from penstock.errors import ConfigurationError
from penstock.runtime.settings import ModelLimits
from penstock.service.building import build
from penstock.service.config import PLAIN, ServerConfig, read_config, variable_of
from penstock.service.server import listen
from penstock.service.service import ServiceConfig

FILE = """
[server]
port = 1
hold_seconds = 5
[store]
path = "from-file.db"
[engine]
strategy = "fair"
max_concurrent = 7
[limits]
requests_per_minute = 10
zone = "Europe/Berlin"
[budgets]
daily = 2.5
[[upstreams]]
base_url = "http://one/v1"
key_env = "KEY_ONE"
models = ["m"]
[[upstreams]]
base_url = "http://two/v1"
key_file = "two.key"
headers_env = { x-org = "ORG" }
[models."m"]
tokens_per_minute = 5000
[tenants.acme]
requests_per_minute = 3
budget = 1.5
weight = 2
[pools]
gpu = 1
[prices."m"]
input = 1
output = 2
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.key").write_text("sk-two\n")
    (tmp_path / "penstock.toml").write_text(FILE)
    return tmp_path / "penstock.toml"


def test_the_command_line_goes_over_the_environment_over_the_file_over_defaults(file):
    told = {"PENSTOCK_SERVER_PORT": "2", "PENSTOCK_STORE": "env.db", "PENSTOCK_SERVER_HOSTS": "a, b"}
    config = read_config(file, told, {"store": {"path": "given.db"}, "server": {"host": None}})
    assert (config.server.port, config.store.path, config.server.hosts) == (2, "given.db", ["a", "b"])
    assert (config.server.hold_seconds, config.server.host) == (5.0, "127.0.0.1")
    assert read_config(None, {}) == ServerConfig()


def test_everything_reaches_the_manager(file, tmp_path):
    environment = {"KEY_ONE": "sk-one", "ORG": "org-7"}
    service = build(read_config(file, {}), environment)
    engine, setup = service.engine.settings, service.manager.setup
    assert engine.store == str(tmp_path / "from-file.db")
    assert engine.max_concurrent == 7
    assert engine.limits.requests_per_minute == 10
    assert engine.limits.zone == "Europe/Berlin"
    assert engine.limits.daily_budget == 2.5
    assert engine.limits.models == {"m": ModelLimits(tokens_per_minute=5000)}
    assert engine.limits.tenants == {"acme": ModelLimits(requests_per_minute=3)}
    assert engine.limits.tenant_budgets == {"acme": 1.5}
    assert engine.limits.pools == {"gpu": 1}
    assert service.engine.ranker.weight("acme") == 2.0
    one, two = (client.endpoint for client in setup.clients)
    assert (one.api_key, one.models, two.api_key) == ("sk-one", ("m",), "sk-two")
    assert two.headers == {"x-org": "org-7"}
    assert service.config == ServiceConfig(hold_seconds=5.0)
    for text in (repr(setup), repr(service), repr(engine)):
        assert "sk-one" not in text
        assert "org-7" not in text


def test_without_upstreams_the_usual_variables_name_one():
    service = build(read_config(None, {}), {"OPENAI_BASE_URL": "http://x/v1", "OPENAI_API_KEY": "sk-x"})
    (client,) = service.manager.setup.clients
    assert (client.endpoint.base_url, client.endpoint.api_key) == ("http://x/v1", "sk-x")


def test_every_variable_is_read():
    for section in PLAIN:
        part = ServerConfig.model_fields[section].annotation
        for name, field in part.model_fields.items():
            default = field.default
            value = json.dumps(default) if isinstance(default, bool | int | float) else None
            if value is None:
                continue
            with_one_more = {bool: "false", int: str(default), float: str(default)}[type(default)]
            read_config(None, {variable_of(section, name): with_one_more})
            with pytest.raises(ConfigurationError, match=name):
                read_config(None, {variable_of(section, name): "nonsense"})


def test_every_setting_of_the_page_is_one_that_there_is_and_the_reverse():
    page = (Path(__file__).resolve().parents[2] / "docs/reference/configuration.md").read_text(
        encoding="utf-8"
    )
    named = set(re.findall(r"PENSTOCK_[A-Z_]+", page)) - {"PENSTOCK_"}
    there = {
        variable_of(section, name)
        for section in PLAIN
        for name in ServerConfig.model_fields[section].annotation.model_fields
    }
    assert named - there == {"PENSTOCK_CONFIG", "PENSTOCK_SERVER", "PENSTOCK_API_KEY"}
    assert there <= named


def test_the_example_of_the_page_is_a_configuration(tmp_path):
    page = (Path(__file__).resolve().parents[2] / "docs/reference/configuration.md").read_text(
        encoding="utf-8"
    )
    example = tmp_path / "example.toml"
    example.write_text(re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1])
    assert read_config(example, {}).tenants["acme"].budget == 5.0


def test_an_address_is_bound_wherever_its_name_leads():
    sockets = listen("localhost", 0)
    try:
        ports = {one.getsockname()[1] for one in sockets}
        assert len(ports) == 1
        with pytest.raises(ConfigurationError, match="cannot listen"):
            listen("127.0.0.1", ports.pop())
    finally:
        for one in sockets:
            one.close()
    with pytest.raises(ConfigurationError, match="no address"):
        listen("no such host.invalid", 0)
