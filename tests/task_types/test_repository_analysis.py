"""REPOSITORY_ANALYSIS: facts and README go in, an analysis of a known shape comes out."""

import json

import pytest

from penstock.llm.token_estimates import estimate_text
from penstock.task_types.base import Toolbox
from penstock.task_types.repository_analysis import (
    KIND,
    Analysis,
    RepositoryInfo,
    cut_to_tokens,
    facts,
    question,
)

INFO = {
    "name": "sluice",
    "full_name": "acme/sluice",
    "description": "Opens gates",
    "language": "Rust",
    "stargazers_count": 1234,
    "topics": ["water", "gates"],
    "license": {"key": "mit", "spdx_id": "MIT", "url": "https://licences.test/mit"},
    "owner": {"login": "acme", "id": 5},
    "html_url": "https://git.test/acme/sluice",
    "node_id": "abc",
    "homepage": None,
    "archived": False,
}
DATA = {"repo_info": INFO, "readme_content": "# Sluice\nIt opens gates."}


async def test_an_analysis_has_every_part(run_task):
    result = await run_task(KIND, DATA)
    assert set(Analysis.model_fields) <= set(result)
    assert isinstance(result["summary"], str)
    assert result["summary"]
    assert isinstance(result["key_features"], list)
    assert result["repo_name"] == "sluice"
    assert result["readme_truncated"] is False


def test_facts_are_what_tells_a_reader_something():
    lines = facts(RepositoryInfo(**INFO))
    assert lines[:4] == [
        "- name: sluice",
        "- description: Opens gates",
        "- language: Rust",
        "- stars: 1234",
    ]
    assert lines[4:] == [
        "- archived: False",
        "- full_name: acme/sluice",
        "- license: MIT",
        "- owner: acme",
        "- topics: water, gates",
    ]


def test_facts_do_not_depend_on_the_order_of_keys():
    assert facts(RepositoryInfo(**INFO)) == facts(RepositoryInfo(**dict(reversed(INFO.items()))))


def test_facts_are_bounded():
    info = RepositoryInfo(name="x", **{f"field{n}": "y" * 5000 for n in range(30)})
    assert sum(map(len, facts(info))) < 15_000
    with pytest.raises(ValueError, match="200,000"):
        RepositoryInfo(name="x", big="y" * 300_000)


@pytest.mark.parametrize("unit", ["word and word ", "水門を開ける", "x", "{}[]();", "0123456789 ", "\n"])
def test_a_long_readme_is_cut_to_its_tokens(unit):
    text = unit * (3_000_000 // len(unit))
    shown, cut = cut_to_tokens(text, 1_000)
    assert cut
    assert text.startswith(shown)
    assert 800 <= estimate_text(shown) <= 1_000
    assert cut_to_tokens("short", 1_000) == ("short", False)


async def test_a_cut_is_said_to_the_model_and_to_the_reader(run_task):
    data = {**DATA, "readme_content": "gates and more gates. " * 20_000, "max_readme_tokens": 500}
    result = await run_task(KIND, data)
    assert result["readme_truncated"] is True
    prompt = run_task.bodies[0]["messages"][1]["content"]
    assert "README was cut" in prompt
    assert estimate_text(prompt) < 700


def test_a_repository_without_readme_says_so():
    asked, cut = question(RepositoryInfo(name="x"), None, model="m", language="Norwegian")
    assert not cut
    text = asked.messages[1]["content"]
    assert "It has no README." in text
    assert "Norwegian" in text


async def test_an_answer_with_more_or_other_case_is_taken(run_task):
    answer = {
        "summary": " Opens gates. ",
        "purpose": "",
        "key_features": [],
        "technologies": ["Rust"],
        "audience": "engineers",
        "maturity": "Stable",
        "topics": [],
        "stars": 5,
    }
    result = await run_task(KIND, DATA, replies=[json.dumps(answer)])
    assert (result["summary"], result["maturity"]) == ("Opens gates.", "stable")
    assert "stars" not in result


def test_the_estimate_counts_the_shown_part_of_the_readme():
    box = Toolbox(client=lambda: None, functions=None)

    def tokens(readme):
        return KIND.estimate(KIND.read({"repo_info": INFO, "readme_content": readme}), box).input_tokens

    assert tokens("") < tokens("word " * 1000) < tokens("word " * 500_000) < 7_500
