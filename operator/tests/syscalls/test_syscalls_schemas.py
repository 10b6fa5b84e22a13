"""Params against a tool's schema: a refusal says where, nothing is fetched, and no author can hang the gateway."""

import time

import pytest

from aion.api import errors, schema
from aion.syscalls import schemas


def refusal(of: dict, params: dict) -> errors.BadParams:
    with pytest.raises(errors.BadParams) as refused:
        schemas.Schema(of, of="tool t").check(params)
    return refused.value


def test_the_short_form_of_a_manifest_is_what_is_checked():
    short = schemas.Schema(schema.from_short("query:string,limit:int?", closed=True), of="tool t")
    short.check({"query": "x"})
    short.check({"query": "x", "limit": 3})
    with pytest.raises(errors.BadParams, match="params of tool t at /limit: "):
        short.check({"query": "x", "limit": "many"})


def test_every_problem_has_its_place_and_there_are_at_most_five():
    numbers = {"properties": {"list": {"items": {"type": "integer"}}}}
    refused = refusal(numbers, {"list": ["a"] * 9})
    assert refused.details == {
        "errors": [{"path": f"/list/{at}", "message": '"a" is not of type "integer"'} for at in range(5)]
    }


def test_a_place_is_a_json_pointer():
    odd = {"properties": {"a/b": {"properties": {"~c": {"type": "string"}}}}}
    assert refusal(odd, {"a/b": {"~c": 1}}).details["errors"][0]["path"] == "/a~1b/~0c"


def test_a_message_that_quotes_the_params_is_cut():
    long = refusal({"properties": {"a": {"type": "integer"}}}, {"a": "x" * 10_000})
    assert len(long.message) < 400


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"type": "frob"}, "frob"),
        ({"$ref": "https://example.org/schema.json"}, "expected a schema that stands alone"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "expected a schema that stands alone"),
        ({"$ref": "#/$defs/nowhere"}, "does not exist"),
        ({"pattern": "("}, "regex"),
        ({"pattern": "(?=a)b"}, "regex"),
        ({"$schema": "https://example.org/dialect"}, "meta-schema"),
    ],
)
def test_a_schema_that_is_wrong_or_points_elsewhere_is_the_tools_fault_in_one_line(wrong: dict, says: str):
    with pytest.raises(errors.UpstreamFailed) as failed:
        schemas.Schema(wrong, of="tool t")
    assert says in failed.value.message
    assert "\n" not in failed.value.message


def test_a_pattern_that_would_hang_a_backtracking_engine_takes_no_time():
    began = time.perf_counter()
    refusal({"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": "a" * 50_000 + "b"})
    assert time.perf_counter() - began < 2


def test_a_schema_that_contains_itself_ends():
    nested: dict = {}
    at = nested
    for _ in range(500):
        at["child"] = {}
        at = at["child"]
    schemas.Schema({"properties": {"child": {"$ref": "#"}}}, of="tool t").check(nested)


def test_numbers_beyond_64_bits_are_judged_like_any_other():
    assert "maximum" in refusal({"properties": {"n": {"maximum": 5}}}, {"n": 10**30}).message
