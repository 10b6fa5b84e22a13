"""Bad input at every dialect: whatever comes is answered in the dialect's own form, never by a bug, and nothing is left over."""

import asyncio
import json
from typing import Any

import pytest
from dialects_stage import ME, Stage
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_model import StubModel

from aion.api.generation import Chunk
from aion.dialects.served import Served
from aion.dialects.wire import Answer, Request
from aion.syscalls import testing

PATHS = ("/mcp", "/v1/chat/completions", "/v1/responses", "/v1/messages")
EACH_PATH = pytest.mark.parametrize("path", PATHS)

VALID: dict[str, dict[str, Any]] = {
    "/mcp": {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"n": 1}}},
    "/v1/chat/completions": {
        "model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}], "stop": ["a"],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}], "tool_choice": "auto",
    },
    "/v1/responses": {
        "model": "m", "input": [{"role": "user", "content": "x"}, {"type": "function_call", "call_id": "c", "name": "f"}],
        "tools": [{"type": "function", "name": "f"}], "text": {"format": {"type": "text"}},
    },
    "/v1/messages": {
        "model": "m", "max_tokens": 9, "system": [{"type": "text", "text": "x"}], "tools": [{"name": "f", "input_schema": {}}],
        "messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "x"}]}],
    },
}  # fmt: skip

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """A sound request with one thing in it that is not."""
    where = document = json.loads(json.dumps(document))
    while True:
        keys = list(where) if isinstance(where, dict) else list(range(len(where)))
        key = draw(st.sampled_from(keys))
        inner = where[key]
        if not isinstance(inner, dict | list) or not inner or draw(st.booleans()):
            where[key] = draw(JSON)
            return document
        where = inner


def a_stage() -> tuple[Stage, Served]:
    stage = Stage(testing.granted(tools=[testing.a_tool()]), handlers=(StubModel(Chunk(text="x")),))
    return stage, Served(stage.router, standing=lambda who: stage.door.standing(who, who.agent_id))


def ask(served: Served, path: str, body: bytes, **headers: str) -> Answer:
    async def answered() -> Any:
        face = served.at(path)
        assert face is not None
        return await face.answer(Request("POST", path, {"content-type": "application/json", **headers}, body, ME))

    answer = asyncio.run(answered())
    assert isinstance(answer, Answer)  # nothing here asks for a stream
    assert answer.status < 500, answer.body
    if answer.body:
        json.loads(answer.body)
    return answer


def at_rest(stage: Stage) -> bool:
    standing = stage.door.standing(ME, "")
    return standing.inflight == 0 and standing.ledger.reserved == 0


@EACH_PATH
def test_bytes_of_any_kind_are_answered(path: str):
    stage, served = a_stage()

    @settings(max_examples=60)
    @given(st.binary(max_size=40))
    def check(body: bytes) -> None:
        ask(served, path, body)

    check()
    assert at_rest(stage)


@EACH_PATH
def test_a_sound_request_with_one_wrong_thing_in_it_is_answered(path: str):
    stage, served = a_stage()

    @settings(max_examples=150)
    @given(changed(VALID[path]).filter(lambda document: not isinstance(document, dict) or not document.get("stream")))
    def check(document: Any) -> None:
        ask(served, path, json.dumps(document).encode())

    check()
    assert at_rest(stage)


@EACH_PATH
@pytest.mark.parametrize(
    "value",
    [
        "1e400",
        "-1e400",
        '"\\ud800"',
        '"\\ud800\\ud800"',
        "1" * 400,
        "NaN",
        "{",
        '{"a":1,"a":2}',
        '"\\u0000"',
        "9" * 25,
        "1.5e308",
    ],
)
def test_numbers_and_words_that_other_readers_stumble_over_are_answered(path: str, value: str):
    _, served = a_stage()
    for name in VALID[path]:
        document = json.dumps({key: each for key, each in VALID[path].items() if key != name})
        ask(served, path, f'{document[:-1]}, "{name}": {value}}}'.encode())


@EACH_PATH
def test_what_is_nested_to_the_edge_of_what_can_be_read_is_answered(path: str):
    _, served = a_stage()
    hole = {
        "/mcp": '"arguments": {"n": 1}',
        "/v1/chat/completions": '"parameters": {"type": "object"}',
        "/v1/responses": '"name": "f"}]',
        "/v1/messages": '"input_schema": {}',
    }[path]
    told = set()
    for depth in (*range(0, 1300, 50), *range(900, 1010)):
        nested = '{"a":' * depth + "1" + "}" * depth
        filled = (
            hole[:-2] + ', "parameters": ' + nested + "}]"
            if path == "/v1/responses"
            else hole.split(": ")[0] + ": " + nested
        )
        sound = json.dumps(VALID[path])
        assert hole in sound
        told.add(ask(served, path, sound.replace(hole, filled).encode()).status)
    assert told <= {200, 400, 413}
