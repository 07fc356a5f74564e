"""Providers are known by host; what runs at home is free."""

import pytest

from penstock.llm.profiles import host_of, profile_for, profile_named


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://mine.openai.azure.com/openai/v1/", "azure"),
        ("https://API.Anthropic.com", "anthropic"),
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://api.cerebras.ai/v1", "cerebras"),
        ("https://generativelanguage.googleapis.com/v1beta/openai/", "gemini"),
        ("http://localhost:8000/v1", "local"),
        ("localhost:8000", "local"),
        ("http://127.0.0.1:11434/v1", "local"),
        ("http://[::1]:8000/v1", "local"),
        ("http://192.168.1.7/v1", "local"),
        ("http://10.0.0.3/v1", "local"),
        ("http://box.local/v1", "local"),
        ("http://ollama:11434/v1", "local"),
        ("http://host.docker.internal:1234", "local"),
        ("https://llm.example.com/v1", "unknown"),
        ("https://8.8.8.8/v1", "unknown"),
        ("https://notopenai.com/v1", "unknown"),
        ("https://api.openai.com.example.net/v1", "unknown"),
        ("http://[broken", "unknown"),
        ("", "unknown"),
    ],
)
def test_profile_by_address(base_url, name):
    profile = profile_for(base_url)
    assert profile.name == name
    assert profile.local is (name == "local")


def test_profile_by_name_and_host():
    assert profile_named(" OpenAI ") is profile_for("https://api.openai.com")
    assert profile_named("nobody") is None
    assert host_of("https://user@Host.Example.:443/x") == "host.example"
