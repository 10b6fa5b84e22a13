"""A Tool's io in the short form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion.api import schema

NAMES = st.lists(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True), min_size=1, max_size=6, unique=True)


def test_the_short_form_says_names_types_and_what_may_be_left_out():
    assert schema.from_short("query:string, limit : int?,tags:list[string]", closed=True) == {
        "type": "object",
        "properties": {
            "query": {"type": "string"},
            "limit": {"type": "integer"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["query", "tags"],
        "additionalProperties": False,
    }


def test_an_open_schema_lets_more_through_and_one_of_optionals_requires_nothing():
    assert schema.from_short("note:any?", closed=False) == {"type": "object", "properties": {"note": {}}}


@pytest.mark.parametrize(
    ("word", "said"),
    [("bool", "boolean"), ("float", "number"), ("dict", "object"), ("str", "string"), ("list", "array")],
)
def test_pythons_names_of_types_are_understood(word, said):
    assert schema.from_short(f"x:{word}", closed=True)["properties"]["x"]["type"] == said


@pytest.mark.parametrize(
    "short",
    ["", "query", "query:", ":string", "query:text", "query:string,", "a:string;b:int", "1a:int", "a:list[list]x",
     "a:list[", "a:int??", "a:map[string]", "a:string\n", "a:int" + ",b:int" * 200],
)  # fmt: skip
def test_what_is_not_in_the_grammar_is_refused_with_the_grammar(short):
    with pytest.raises(ValueError, match="expected name:type"):
        schema.from_short(short, closed=True)


def test_a_name_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match="'a' twice"):
        schema.from_short("a:int,a:string", closed=True)


@given(NAMES, st.data())
def test_every_name_of_the_short_form_is_a_property_in_its_order(names, data):
    types = data.draw(
        st.lists(st.sampled_from(["int", "string", "list[int]", "any"]), min_size=len(names), max_size=len(names))
    )
    short = ", ".join(f"{name}:{kind}" for name, kind in zip(names, types, strict=True))
    made = schema.from_short(short, closed=True)
    assert list(made["properties"]) == made["required"] == names == list(schema.names(short))
