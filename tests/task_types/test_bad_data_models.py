"""What the door refuses, field by field: types that ask a model."""

import json

import pytest

from penstock.task_types import (
    batch_analysis,
    function_call,
    llm_call,
    repository_analysis,
    text_classification,
)

USER = [{"role": "user", "content": "hello"}]
DEEP = json.loads('{"a":' * 90 + "1" + "}" * 90)
NAN = float("nan")

LLM_CALL = [
    (None, "prompt"),
    ({}, "prompt"),
    ([], "data"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": " \n"}, "prompt"),
    ({"prompt": 5}, "prompt"),
    ({"prompt": "x" * 4_000_001}, "prompt"),
    ({"prompt": "x", "messages": USER}, "prompt and messages"),
    ({"prompt": "x", "temprature": 1}, "temprature"),
    ({"prompt": "x", "temperature": 3}, "temperature"),
    ({"prompt": "x", "temperature": "hot"}, "temperature"),
    ({"prompt": "x", "temperature": NAN}, "temperature"),
    ({"prompt": "x", "max_tokens": 0}, "max_tokens"),
    ({"prompt": "x", "max_tokens": True}, "max_tokens"),
    ({"prompt": "x", "model": ""}, "model"),
    ({"prompt": "x", "model": ["m"]}, "model"),
    ({"prompt": "x", "stream": True}, "stream"),
    ({"prompt": "x", "url": "/v1/responses"}, "url"),
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": ["hello"]}, "messages"),
    ({"messages": [{"content": "hello"}]}, "messages"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages"),
    ({"messages": [{"role": "user"}]}, "messages"),
    ({"messages": USER, "system_prompt": "x"}, "system_prompt"),
    ({"messages": USER, "seed": {1, 2}}, "seed"),
    ({"messages": USER, "top_p": NAN}, "top_p"),
    ({"messages": [{**USER[0], "weight": NAN}]}, "messages"),
    ({"body": {"messages": USER, "top_p": NAN}}, "body"),
    ({"body": []}, "body"),
    ({"body": {}}, "body.messages"),
    ({"body": {"messages": USER, "stream": True}}, "stream"),
    ({"body": {"messages": USER, "model": 5}}, "model"),
    ({"body": {"messages": USER}, "model": "m"}, "model"),
    ({"body": {"messages": USER}, "seed": 1}, "seed"),
    ({"body": {"messages": [1]}}, "body.messages"),
    ({"url": "/v1/responses", "body": {"input": "x", "background": True}}, "background"),
    ({"url": "/v1/responses", "body": {"messages": USER}}, "body.input"),
    ({"url": "https://elsewhere.test/v1/chat/completions", "body": {"messages": USER}}, "url"),
    ({"url": "//elsewhere.test/v1/chat/completions", "body": {"messages": USER}}, "url"),
    ({"url": "/v1/../admin/chat/completions", "body": {"messages": USER}}, "url"),
    ({"url": "/v1/files", "body": {"messages": USER}}, "url"),
    ({"url": "/v1/chat/completions?x=1\r\nhost: y", "body": {"messages": USER}}, "url"),
]
INFO = {"name": "x"}
REPOSITORY_ANALYSIS = [
    (None, "repo_info"),
    ({}, "repo_info"),
    ({"repo_info": "acme/x"}, "repo_info"),
    ({"repo_info": {}}, "repo_info.name"),
    ({"repo_info": {"name": " "}}, "repo_info.name"),
    ({"repo_info": {"name": "x" * 501}}, "repo_info.name"),
    ({"repo_info": {"name": "x", "stargazers_count": -1}}, "repo_info.stargazers_count"),
    ({"repo_info": {"name": "x", "stargazers_count": "many"}}, "repo_info.stargazers_count"),
    ({"repo_info": {"name": "x", "language": ["Go"]}}, "repo_info.language"),
    ({"repo_info": {"name": "x", "description": 5}}, "repo_info.description"),
    ({"repo_info": {"name": "x", "odd": object()}}, "repo_info.odd"),
    ({"repo_info": {"name": "x", "odd": "y" * 300_000}}, "repo_info"),
    ({"repo_info": INFO, "readme_content": ["line"]}, "readme_content"),
    ({"repo_info": INFO, "readme_content": "x" * 4_000_001}, "readme_content"),
    ({"repo_info": INFO, "readme": "x"}, "readme"),
    ({"repo_info": INFO, "model": ""}, "model"),
    ({"repo_info": INFO, "language": ""}, "language"),
    ({"repo_info": INFO, "max_readme_tokens": 5}, "max_readme_tokens"),
    ({"repo_info": INFO, "max_tokens": -1}, "max_tokens"),
]
BATCH_ANALYSIS = [
    (None, "repositories"),
    ({}, "repositories"),
    ({"repositories": []}, "repositories"),
    ({"repositories": {}}, "repositories"),
    ({"repositories": ["x"]}, "repositories.0"),
    ({"repositories": [INFO, {}]}, "repositories.1.name"),
    ({"repositories": [INFO, {"name": ""}]}, "repositories.1.name"),
    ({"repositories": [{"name": "x", "readme": 5}]}, "repositories.0.readme"),
    ({"repositories": [{"name": "x", "readme": "y" * 1_000_001}]}, "repositories.0.readme"),
    ({"repositories": [{"name": "x", "stargazers_count": -5}]}, "repositories.0.stargazers_count"),
    ({"repositories": [INFO] * 10_001}, "repositories"),
    ({"repositories": [{"name": "x", "readme": "y" * 1_000_000}] * 101}, "repositories"),
    ({"repositories": [INFO], "parallel": 0}, "parallel"),
    ({"repositories": [INFO], "parallel": 1.5}, "parallel"),
    ({"repositories": [INFO], "repos": []}, "repos"),
    ({"repositories": [INFO], "model": 5}, "model"),
]
TWO = ["a", "b"]
TEXT_CLASSIFICATION = [
    (None, "text"),
    ({"categories": TWO}, "text"),
    ({"text": "x"}, "categories"),
    ({"text": "", "categories": TWO}, "text"),
    ({"text": " ", "categories": TWO}, "text"),
    ({"text": 5, "categories": TWO}, "text"),
    ({"text": "x", "categories": []}, "categories"),
    ({"text": "x", "categories": ["a"]}, "categories"),
    ({"text": "x", "categories": ["a", "a"]}, "categories"),
    ({"text": "x", "categories": ["a", " "]}, "categories"),
    ({"text": "x", "categories": ["a", 5]}, "categories"),
    ({"text": "x", "categories": "a, b"}, "categories"),
    ({"text": "x", "categories": ["a", "b" * 201]}, "categories"),
    ({"text": "x", "categories": [str(n) for n in range(201)]}, "categories"),
    ({"text": "x", "categories": {"a": "y" * 1001, "b": ""}}, "categories"),
    ({"text": "x", "categories": {"a": 5, "b": ""}}, "categories"),
    ({"text": "x", "categories": TWO, "reasoning": "yes"}, "reasoning"),
    ({"text": "x", "categories": TWO, "category": "a"}, "category"),
]
CALL = {"function_name": "f", "content": "x", "parameters": {"type": "object"}}
FUNCTION_CALL = [
    (None, "function_name"),
    ({"content": "x", "parameters": {}}, "function_name"),
    ({**CALL, "function_name": ""}, "function_name"),
    ({**CALL, "function_name": "no spaces"}, "function_name"),
    ({**CALL, "function_name": "f\n"}, "function_name"),
    ({**CALL, "function_name": "f" * 65}, "function_name"),
    ({"function_name": "f", "parameters": {}}, "content"),
    ({**CALL, "content": ""}, "content"),
    ({"function_name": "f", "content": "x"}, "parameters"),
    ({**CALL, "parameters": "string"}, "parameters"),
    ({**CALL, "parameters": {"type": "array"}}, "parameters: type"),
    ({**CALL, "parameters": {"type": "object", "properties": []}}, "parameters: properties"),
    (
        {**CALL, "parameters": {"type": "object", "properties": {"a": {"type": "word"}}}},
        "parameters: properties.a.type",
    ),
    ({**CALL, "parameters": {"type": "object", "required": "a"}}, "parameters: required"),
    ({**CALL, "parameters": {"properties": {"a": {"$ref": "#/$defs/none"}}}}, "parameters: $ref"),
    ({**CALL, "parameters": {"properties": {"a": {"$ref": "http://x.test/s"}}}}, "parameters: $ref"),
    ({**CALL, "parameters": {"properties": {"a": {"$ref": "file:///etc/passwd"}}}}, "parameters: $ref"),
    ({**CALL, "parameters": {"properties": DEEP}}, "parameters"),
    ({**CALL, "parameters": {"properties": {"a": {"pattern": "("}}}}, "parameters: properties.a.pattern"),
    ({**CALL, "parameters": {"properties": {"a": {"$id": "http://x.test/"}}}}, "parameters: $id"),
    ({**CALL, "parameters": {"$schema": ["2020-12"]}}, "parameters: $schema"),
    ({**CALL, "parameters": {"description": "x" * 200_000}}, "parameters"),
    ({**CALL, "parameters": {"properties": {"a": {"minimum": NAN}}}}, "parameters"),
    ({**CALL, "temperature": -1}, "temperature"),
    ({**CALL, "arguments": {}}, "arguments"),
]
TABLES = [
    (llm_call.KIND, LLM_CALL),
    (repository_analysis.KIND, REPOSITORY_ANALYSIS),
    (batch_analysis.KIND, BATCH_ANALYSIS),
    (text_classification.KIND, TEXT_CLASSIFICATION),
    (function_call.KIND, FUNCTION_CALL),
]
CASES = [
    pytest.param(kind, data, field, id=f"{kind.type}-{number}-{field}")
    for kind, table in TABLES
    for number, (data, field) in enumerate(table)
]


@pytest.mark.parametrize(("kind", "data", "field"), CASES)
def test_bad_data_are_refused_with_the_field_named(refused, kind, data, field):
    words = refused(kind, data)
    assert words.startswith(f"data of a {kind.type} task: ")
    assert field in words.removeprefix(f"data of a {kind.type} task: ")
    assert len(words) < 2_000


@pytest.mark.parametrize(("kind", "table"), TABLES, ids=lambda one: getattr(one, "type", ""))
def test_every_table_is_long_enough(kind, table):
    assert len(table) >= 8


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (llm_call.KIND, {"prompt": "x", "max_tokens": 5, "seed": 1}),
        (llm_call.KIND, {"messages": USER, "vendor": {"a": [None, 1.5]}}),
        (llm_call.KIND, {"endpoint": "/v1/responses", "body": {"input": "x"}}),
        (repository_analysis.KIND, {"repo_info": {"name": "x", "topics": ["a"], "owner": {"id": 1}}}),
        (batch_analysis.KIND, {"repositories": [{"name": "x", "readme_content": "y", "size": 5}]}),
        (text_classification.KIND, {"text": "x", "categories": {"a": None, "b": "bee"}}),
        (function_call.KIND, CALL),
    ],
)
def test_what_was_read_can_be_kept_and_read_again(kind, data):
    read = kind.read(data)
    for kept in (read.model_dump(mode="json"), read.model_dump(mode="json", exclude_unset=True)):
        again = kind.read(json.loads(json.dumps(kept)))
        assert again.model_dump() == read.model_dump()
