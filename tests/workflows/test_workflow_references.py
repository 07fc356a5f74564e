"""References: found, bound and filled in; what results hold is never taken for a reference."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ReferenceMissing
from penstock.model.references import bind, fill, find, holds_marks, holes

texts = st.text(max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
# Results may look like references: they are not ours to read.
results = json_values | st.just({"$result": "a"}) | st.just("${a}") | st.just({"$text": "${b}"})


@st.composite
def data_with_holes(draw):
    """Data with references to nodes a and b, and what they become."""
    known = {"a": draw(results), "b": draw(results)}

    def pair(node):
        return ({"$result": node}, known[node])

    def templated(parts):
        written = "".join(
            part.replace("${", "$${") if kind == "text" else f"${{{part}}}" for kind, part in parts
        )
        shown = "".join(part if kind == "text" else as_text(known[part]) for kind, part in parts)
        return ({"$text": written}, shown)

    words = texts.filter(lambda text: "$" not in text) | st.just("${x}")
    leaf = st.one_of(
        json_values.map(lambda value: (value, value)),
        st.sampled_from("ab").map(pair),
        json_values.map(lambda value: ({"$literal": {"$result": value}}, {"$result": value})),
        st.lists(
            st.tuples(st.just("text"), words) | st.tuples(st.just("node"), st.sampled_from("ab")), max_size=4
        ).map(templated),
    )
    pairs = st.recursive(
        leaf,
        lambda inner: (
            st.lists(inner, max_size=3).map(
                lambda found: ([one for one, _ in found], [one for _, one in found])
            )
            | st.dictionaries(texts, inner, max_size=3).map(
                lambda found: (
                    {key: one for key, (one, _) in found.items()},
                    {key: one for key, (_, one) in found.items()},
                )
            )
        ),
        max_leaves=6,
    )
    raw, filled = draw(pairs)
    return raw, filled, known


def as_text(value):
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@given(data_with_holes())
def test_bound_and_filled(made):
    raw, filled, known = made
    before = json.dumps(raw)
    assert find(raw)[1] == []
    bound = bind(raw, {"a": "task-1", "b": "task-2"})
    assert {one.node for one in find(raw)[0]} <= {"a", "b"}
    stored = json.loads(json.dumps(bound))
    assert fill(stored, {"task-1": known["a"], "task-2": known["b"]}) == filled
    assert json.dumps(raw) == before
    if not holds_marks(raw):
        assert filled == raw


def test_parts_by_json_pointer():
    result = {"a/b": [{"~": 1}], "": "empty", "n": None}

    def part(path):
        return fill({"$result": "t", "path": path}, {"t": result})

    assert part("") == result
    assert part("/a~1b/0/~0") == 1
    assert part("/") == "empty"
    assert part("/n") is None
    assert fill({"$text": "${t/a~1b/0} and ${t/n}"}, {"t": result}) == "and".join(('{"~": 1} ', " null"))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/items/3", "the result of node 'collect' has no /items/3: /items is a list of 2"),
        ("/item", "has no /item: it is an object with the keys items, title"),
        ("/title/x", "has no /title/x: /title is a text"),
        ("/items/-1", "/items is a list of 2"),
        ("/items/²", "/items is a list of 2"),
        ("/items/0/x", "/items/0 is a number"),
        ("/items/1/x", "/items/1 is null"),
    ],
)
def test_what_is_missing_is_named(path, words):
    data = bind({"deep": [{"$result": "collect", "path": path}]}, {"collect": "0123"})
    with pytest.raises(ReferenceMissing) as missing:
        fill(data, {"0123": {"items": [1, None], "title": "t"}})
    assert words in str(missing.value)


def test_a_node_without_a_result():
    with pytest.raises(ReferenceMissing, match="node 'collect' has no result"):
        fill(bind({"$text": "${collect}"}, {"collect": "0123"}), {})


def test_dollars_that_mean_nothing():
    plain = {"price": "$5", "schema": {"$ref": "#/$defs/x"}, "text": "${a}"}
    assert find(plain) == ([], [])
    assert fill(plain, {}) == plain
    assert fill({"$text": "$5 $${a} $"}, {}) == "$5 ${a} $"


def test_a_template_in_parts():
    data = {"$text": ["Sum: ", {"$result": "a"}, " of ", [1, {"$text": "${a}!"}]]}
    assert [one.where for one in find(data)[0]] == ["$text.1", "$text.3.1"]
    assert fill(data, {"a": 7}) == 'Sum: 7 of [1, "7!"]'


def test_fields_that_are_not_known_yet():
    assert holes({"a": 1, "b": [{"$result": "x"}], "c": {"$literal": 1}}) == {"b", "c"}
    assert holes({"$result": "x"}) is None
    assert holes([{"$result": "x"}]) is None
    assert holes([1]) == frozenset()
    assert holes(None) == frozenset()


def test_where_references_stand():
    data = {"a": [1, {"$result": "x"}], "b": {"$text": "${y/k} ${z}"}}
    assert [(one.where, one.node, one.path) for one in find(data)[0]] == [
        ("a.1", "x", ""),
        ("b", "y", "/k"),
        ("b", "z", ""),
    ]
