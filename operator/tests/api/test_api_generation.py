"""What is asked of a model: bounds hold, mistakes are named by their place, and chunks make the whole message."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from aion.api import errors, generation
from aion.api.generation import Chunk, Gathering, Message, Request, Text, Thinking, ToolCall, ToolDelta

HELLO = {"role": "user", "content": "hello"}


def read(**params: object) -> Request:
    return generation.read(msgspec.json.encode({"model": "m", **params}))


def test_a_prompt_is_one_turn_of_the_user():
    assert read(prompt="hello").turns == read(messages=[HELLO]).turns == (Message(role="user", content="hello"),)


WRONG = [
    ({}, "/messages", "either messages"),
    ({"messages": [HELLO], "prompt": "x"}, "/messages", "not both"),
    ({"messages": [{"role": "robot", "content": ""}]}, "/messages/0/role", "Invalid enum value"),
    ({"messages": [{**HELLO, "colour": 1}]}, "/messages/0", "unknown field `colour`"),
    ({"prompt": "x", "max_tokens": 0}, "/max_tokens", ">= 1"),
    ({"prompt": "x", "temperature": 2.5}, "/temperature", "<= 2"),
    ({"prompt": "x", "n": 3}, "", "unknown field `n`"),
    ({"prompt": "x", "model": ""}, "/model", "length >= 1"),
    ({"prompt": "x", "response_format": {"type": "json_schema"}}, "/response_format/schema", "needs a schema"),
    ({"prompt": "x", "tool_choice": {"name": "t"}}, "/tool_choice/name", "none of tools"),
    ({"prompt": "x", "stop": ["s"] * 17}, "/stop", "length <= 16"),
]


@pytest.mark.parametrize(("params", "path", "what"), WRONG, ids=[what for *_, what in WRONG])
def test_what_is_wrong_is_named_with_its_place(params: dict[str, object], path: str, what: str):
    with pytest.raises(errors.BadParams, match="params of model") as told:
        read(**params)
    assert told.value.details is not None
    (problem,) = told.value.details["errors"]
    assert problem["path"] == path
    assert what in problem["message"]


@pytest.mark.parametrize("body", [b"{", b"[" * 5000, b'{"model":"\xff"}'])
def test_what_is_not_json_is_refused(body: bytes):
    with pytest.raises(errors.BadParams):
        generation.read(body)


def test_parts_are_told_apart_by_their_type():
    content = [{"type": "text", "text": "see"}, {"type": "image", "url": "data:image/png;base64,AA=="}]
    (turn,) = read(messages=[{"role": "user", "content": content}]).turns
    assert turn.text == "see"
    assert isinstance(turn.content, tuple)
    assert msgspec.to_builtins(turn.content) == tuple(content)


@given(some.lists(some.text(max_size=5), max_size=8), some.lists(some.text(max_size=5), max_size=8))
def test_fragments_make_the_whole_however_they_are_cut(words: list[str], arguments: list[str]):
    whole = Gathering()
    for word in words:
        whole.take(Chunk(text=word))
    whole.take(Chunk(tool_calls=(ToolDelta(index=0, id="c1", name="search"), ToolDelta(index=1, id="c2", name="x"))))
    for piece in arguments:
        whole.take(Chunk(tool_calls=(ToolDelta(index=0, arguments=piece),)))
    whole.take(Chunk(finish_reason="tool_calls", usage=generation.Usage(tokens_in=1, tokens_out=2)))
    message = whole.message()
    assert message.text == "".join(words)
    assert message.tool_calls == (ToolCall("c1", "search", "".join(arguments) or "{}"), ToolCall("c2", "x", "{}"))
    assert whole.finish_reason == "tool_calls"
    assert whole.usage == generation.Usage(tokens_in=1, tokens_out=2)


def test_thoughts_are_kept_apart_from_words():
    whole = Gathering()
    for chunk in (Chunk(thinking="hm"), Chunk(signature="sig"), Chunk(text="yes")):
        whole.take(chunk)
    assert whole.message().content == (Thinking("hm", "sig"), Text("yes"))
