"""Backends of models as an operator writes them: what is wrong is named, money is exact, and nothing secret is in it."""

import json

import pytest

from aion.api import backends
from aion.api.grant import Backend


def test_what_is_written_is_read_and_prices_are_micro_dollars():
    given = {
        "vllm": {"kind": "openai", "url": "http://vllm.models:8000/v1/", "price": {"input": "0.05", "output": "0.2"}},
        "claude": {"kind": "anthropic", "url": "https://api.anthropic.com", "cloud": True, "key": "k", "maxTokens": 9},
    }
    assert backends.read(json.dumps(given)) == {
        "vllm": Backend(
            name="vllm", kind="openai", url="http://vllm.models:8000/v1", price_in=50_000, price_out=200_000
        ),
        "claude": Backend(
            name="claude", kind="anthropic", url="https://api.anthropic.com", cloud=True, key="k", max_tokens=9
        ),
    }
    assert backends.read("") == {}


GOOD = {"kind": "openai", "url": "http://x"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"A": GOOD}, "models.backends.A: expected a name of small letters"),
        ({"a": {**GOOD, "kind": "gemini"}}, "Invalid enum value 'gemini'"),
        ({"a": {"kind": "openai"}}, "missing required field `url`"),
        ({"a": {**GOOD, "apiKey": "sk-1"}}, "unknown field `apiKey`"),
        ({"a": {**GOOD, "url": "http://user:pw@x"}}, "nothing secret in it"),
        ({"a": {**GOOD, "url": "ftp://x"}}, "expected http"),
        ({"a": {**GOOD, "url": "http://x?key=1"}}, "expected http"),
        ({"a": {**GOOD, "cloud": True}}, "reached by https"),
        ({"a": {**GOOD, "price": {"input": "cheap"}}}, "models.backends.a.price: got 'cheap'"),
        ({"a": {**GOOD, "price": {"input": 0.1}}}, "Expected `str`"),
        ({"a": {**GOOD, "maxTokens": 0}}, ">= 1"),
        ({"a": {**GOOD, "key": "../x"}}, "expected a key of a Secret"),
        ({f"a{n}": GOOD for n in range(65)}, "got 65, expected at most 64"),
        ([], "Expected `object`"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(given: object, says: str):
    with pytest.raises(ValueError, match=r"models\.backends") as told:
        backends.read(json.dumps(given))
    assert says in str(told.value)
