"""What of models is decided without asking one: events out of pieces, prices, estimates, attempts, breakers, translation."""

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from aion.api import errors, generation
from aion.api.generation import Chunk, Gathering, Request
from aion.api.grant import Backend
from aion.syscalls.models import attempts, breaker, estimate, frames, kinds, pricing
from aion.syscalls.models.breaker import Breaker


def asked(**params: object) -> Request:
    return generation.read(msgspec.json.encode({"model": "m", **params}))


def body(kind: str, request: Request, *, url: str = "http://host/v1") -> dict[str, Any]:
    backend = Backend(name="b", kind=kind, url=url)  # type: ignore[arg-type]
    ask = kinds.of(kind).ask(request, backend=backend, model="up", max_tokens=7)
    return json.loads(ask.body)


Line = some.text(some.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8)


@given(some.lists(some.lists(Line, min_size=1, max_size=3), max_size=6), some.data(), some.sampled_from(["\n", "\r\n"]))
def test_events_are_the_same_however_the_stream_is_cut(said: list[list[str]], data: some.DataObject, end: str):
    events = ["".join(f"data: {line}{end}" for line in lines) + end for lines in said]
    stream = "".join(events).encode()
    cuts = sorted(data.draw(some.lists(some.integers(0, len(stream)), max_size=6)))
    reading, found = frames.Events(), []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += reading.feed(stream[start:stop])
    assert b"".join(found) + reading.rest == stream
    assert [frames.data(event).decode() for event in found] == ["\n".join(lines) for lines in said]
    assert not reading.rest


def test_comments_and_names_of_events_are_no_data():
    assert frames.data(b": hello\n\n") == b""
    assert frames.data(b"event: x\r\nid: 1\r\ndata:{}\r\n\r\n") == b"{}"


@pytest.mark.parametrize("reading", [frames.Events(), frames.Lines()])
def test_an_event_without_end_is_refused(reading: frames.Events | frames.Lines):
    for _ in range(4):
        reading.feed(b"x" * (1 << 20))
    with pytest.raises(errors.UpstreamFailed, match="more than"):
        reading.feed(b"x")


@given(some.integers(0, 10**7), some.integers(0, 10**7), some.integers(0, 10**9), some.integers(0, 10**9))
def test_costs_are_never_rounded_down_and_by_less_than_a_micro_dollar_up(t_in: int, t_out: int, p_in: int, p_out: int):
    backend = Backend(name="b", kind="openai", url="http://h", price_in=p_in, price_out=p_out)
    cost = pricing.cost(backend, tokens_in=t_in, tokens_out=t_out)
    assert 0 <= cost * 1_000_000 - (t_in * p_in + t_out * p_out) < 1_000_000


@given(some.text(max_size=300))
def test_no_tokenizer_counts_more_tokens_than_there_are_bytes(words: str):
    assert estimate.most(asked(prompt=words)) >= len(words.encode())
    assert estimate.usual(asked(prompt=words)) <= estimate.most(asked(prompt=words))


def test_the_worst_is_that_of_the_dearest_backend_and_of_its_own_bound():
    cheap = Backend(name="a", kind="openai", url="http://h", price_in=1, price_out=1_000_000)
    dear = Backend(name="b", kind="openai", url="http://h", price_out=2_000_000, max_tokens=50)
    assert pricing.worst_cost([cheap, dear], asked(prompt="x", max_tokens=10)) == 20
    assert pricing.worst_cost([dear], asked(prompt="x")) == 100
    assert pricing.worst_tokens([cheap, dear], asked(prompt="x", max_tokens=10)) == 10 + estimate.most(
        asked(prompt="x")
    )
    assert pricing.worst_cost([Backend(name="c", kind="ollama", url="http://h")], asked(prompt="x")) == 0


def test_a_breaker_opens_after_failures_on_end_and_lets_one_try():
    state = Breaker()
    for _ in range(breaker.FAILURES - 1):
        state.failed(0.0)
    assert state.admits(0.0)
    state.failed(0.0)
    assert not state.admits(breaker.FIRST_PAUSE_S - 0.1)
    assert state.admits(breaker.FIRST_PAUSE_S)
    assert not state.admits(breaker.FIRST_PAUSE_S), "one at a time"
    state.failed(breaker.FIRST_PAUSE_S)
    assert state.opens_in(breaker.FIRST_PAUSE_S) == 2 * breaker.FIRST_PAUSE_S
    assert state.admits(100.0)
    state.succeeded()
    assert state == Breaker()


def test_a_trial_that_was_given_up_does_not_keep_others_out():
    state = Breaker()
    for _ in range(breaker.FAILURES):
        state.failed(0.0)
    assert state.admits(10.0)
    state.gave_up()
    assert state.admits(10.0)


@given(some.lists(some.sampled_from(["ask", "succeeded", "failed", "rests", "gave_up", "wait"]), max_size=60))
def test_a_breaker_always_opens_again(steps: list[str]):
    state, now = Breaker(), 0.0
    for step in steps:
        match step:
            case "ask":
                state.admits(now)
            case "rests":
                state.rests(now, seconds=1000.0)
            case "failed":
                state.failed(now)
            case "wait":
                now += 7.0
            case _:
                getattr(state, step)()
    state.gave_up()
    assert state.admits(now + breaker.LONGEST_PAUSE_S)


def test_retry_after_is_seconds_or_a_date():
    assert attempts.retry_after({"retry-after": "12"}, now=0) == 12
    assert attempts.retry_after({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=20) == 40
    assert attempts.retry_after({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, now=20) == 0
    for nonsense in ("", "soon", "1e9", "9" * 40, "-3"):
        assert attempts.retry_after({"retry-after": nonsense}, now=0) is None


@given(some.integers(1, 5), some.floats(0, 30), some.floats(0, 30), some.floats(0, 1))
def test_nobody_waits_longer_than_there_is_time(done: int, opens_in: float, left: float, toss: float):
    wait = attempts.pause(done, opens_in=opens_in, left=left, toss=toss)
    assert wait is None or (opens_in <= wait < left and wait <= attempts.LONGEST_PAUSE_S and done < attempts.ROUNDS)


def test_what_a_backend_says_of_a_key_goes_no_further():
    failure = attempts.of_status("b", 401, {}, "Incorrect API key sk-12345", now=0)
    assert "sk-12345" not in str(failure.error)
    assert failure.elsewhere
    assert not failure.again


def test_openai_gets_the_name_of_max_tokens_that_it_takes():
    assert body("openai", asked(prompt="x"))["max_tokens"] == 7
    assert body("openai", asked(prompt="x"), url="https://api.openai.com/v1")["max_completion_tokens"] == 7


def test_only_what_was_said_is_sent():
    assert body("openai", asked(prompt="x")) == {
        "model": "up",
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": 7,
    }
    assert body("ollama", asked(prompt="x")) == {
        "model": "up",
        "messages": [{"role": "user", "content": "x"}],
        "stream": False,
        "options": {"num_predict": 7},
    }


CONVERSATION = [
    {"role": "system", "content": "be brief"},
    {
        "role": "user",
        "content": [{"type": "text", "text": "see"}, {"type": "image", "url": "data:image/png;base64,AA=="}],
    },
    {
        "role": "assistant",
        "content": [{"type": "thinking", "text": "hm", "signature": "sig"}],
        "tool_calls": [{"id": "c1", "name": "a", "arguments": "{}"}, {"id": "c2", "name": "b", "arguments": '{"x":1}'}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "one"},
    {"role": "tool", "tool_call_id": "c2", "content": "two", "failed": True},
    {"role": "user", "content": "and?"},
]


def test_anthropic_gets_turns_that_alternate_with_results_first():
    said = body("anthropic", asked(messages=CONVERSATION, tool_choice="required", tools=[{"name": "a"}]))
    assert said["system"] == "be brief"
    assert said["tool_choice"] == {"type": "any"}
    user, assistant, results = said["messages"]
    assert [part["type"] for part in user["content"]] == ["text", "image"]
    assert user["content"][1]["source"] == {"type": "base64", "media_type": "image/png", "data": "AA=="}
    assert assistant["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "tool_use", "id": "c1", "name": "a", "input": {}},
        {"type": "tool_use", "id": "c2", "name": "b", "input": {"x": 1}},
    ]
    assert results["content"] == [
        {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "one"}]},
        {"type": "tool_result", "tool_use_id": "c2", "content": [{"type": "text", "text": "two"}], "is_error": True},
        {"type": "text", "text": "and?"},
    ]


def test_openai_gets_pictures_as_urls_and_no_thoughts():
    said = body("openai", asked(messages=CONVERSATION))["messages"]
    assert said[1]["content"][1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    assert said[2]["content"] is None
    assert said[2]["tool_calls"][1]["function"] == {"name": "b", "arguments": '{"x":1}'}
    assert said[3] == {"role": "tool", "content": "one", "tool_call_id": "c1"}


def test_an_ollama_gets_pictures_bare_and_the_name_of_the_tool_that_answered():
    said = body("ollama", asked(messages=CONVERSATION))["messages"]
    assert said[1] == {"role": "user", "content": "see", "images": ["AA=="]}
    assert said[2]["tool_calls"][1] == {"function": {"name": "b", "arguments": {"x": 1}}}
    assert said[4] == {"role": "tool", "content": "two", "tool_name": "b"}


FORMATS = [
    ("openai", {"type": "json"}, "response_format", {"type": "json_object"}),
    (
        "openai",
        {"type": "json_schema", "schema": {"a": 1}, "strict": True},
        "response_format",
        {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"a": 1}, "strict": True}},
    ),
    ("ollama", {"type": "json"}, "format", "json"),
    ("ollama", {"type": "json_schema", "schema": {"a": 1}}, "format", {"a": 1}),
    (
        "anthropic",
        {"type": "json_schema", "schema": {"a": 1}},
        "output_config",
        {"format": {"type": "json_schema", "schema": {"a": 1}}},
    ),
]


@pytest.mark.parametrize(("kind", "wanted", "name", "said"), FORMATS)
def test_the_form_of_the_answer_is_said_in_each_dialect(kind: str, wanted: object, name: str, said: object):
    assert body(kind, asked(prompt="x", response_format=wanted))[name] == said


CANNOT = [
    ("anthropic", {"seed": 1}, "which has no seed"),
    ("anthropic", {"response_format": {"type": "json"}}, "give a json_schema"),
    ("ollama", {"tools": [{"name": "a"}], "tool_choice": {"name": "a"}}, "leave tool_choice out"),
    (
        "ollama",
        {"prompt": None, "messages": [{"role": "user", "content": [{"type": "image", "url": "https://x/y.png"}]}]},
        "base64",
    ),
]


@pytest.mark.parametrize(("kind", "params", "says"), CANNOT)
def test_what_a_dialect_cannot_say_is_refused_and_not_dropped(kind: str, params: dict[str, object], says: str):
    with pytest.raises(errors.BadParams, match=says):
        body(kind, asked(**{"prompt": "x", **params}))


def read(kind: str, *said: object) -> tuple[Gathering, kinds.Reader]:
    whole, reader = Gathering(), kinds.of(kind).reader()
    for each in said:
        if (chunk := reader.read(b"data: " + msgspec.json.encode(each) + b"\n\n")) is not None:
            whole.take(chunk)
    return whole, reader


def test_anthropics_usage_is_of_the_whole_question_the_cached_part_too():
    start = {
        "type": "message_start",
        "message": {"model": "m", "usage": {"input_tokens": 5, "cache_read_input_tokens": 90, "output_tokens": 1}},
    }
    end = {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 7}}
    whole, reader = read("anthropic", start, end, {"type": "message_stop"})
    assert reader.usage == generation.Usage(tokens_in=95, tokens_out=7, cached=90)
    assert whole.finish_reason == "length"
    assert reader.finished


def event(said: object) -> bytes:
    return b"data: " + json.dumps(said).encode() + b"\n\n"


@pytest.mark.parametrize("tokens", [-1, 2**63, 10**30])
def test_a_backend_that_counts_what_nobody_can_use_is_not_believed(tokens: int):
    # Less than nothing would pay the agent, and more than fits a record would leave the call without one.
    with pytest.raises(errors.UpstreamFailed, match="completion_tokens"):
        kinds.of("openai").reader().read(
            event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": tokens}})
        )
    with pytest.raises(errors.UpstreamFailed, match="input_tokens"):
        kinds.of("anthropic").reader().read(
            event({"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": tokens}}})
        )
    with pytest.raises(errors.UpstreamFailed, match="eval_count"):
        kinds.of("ollama").reader().read(b'{"done":true,"prompt_eval_count":1,"eval_count":%d}\n' % tokens)
    whole = {"openai": {"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": tokens}}}
    whole["anthropic"] = {"type": "message", "model": "m", "content": [], "usage": {"output_tokens": tokens}}
    whole["ollama"] = {"message": {"content": "a"}, "done": True, "prompt_eval_count": tokens, "eval_count": 1}
    for kind, said in whole.items():
        with pytest.raises(errors.UpstreamFailed, match=r"tokens|eval_count"):
            kinds.of(kind).answer(json.dumps(said).encode())


def test_an_error_in_the_middle_of_a_stream_is_one():
    for kind, said in (
        ("openai", {"error": {"message": "out of memory"}}),
        ("anthropic", {"type": "error", "error": {"type": "overloaded_error", "message": "out of memory"}}),
    ):
        with pytest.raises(errors.UpstreamFailed, match="out of memory"):
            read(kind, said)
    with pytest.raises(errors.UpstreamFailed, match="out of memory"):
        kinds.of("ollama").reader().read(b'{"error":"out of memory"}\n')


def test_thoughts_are_read_in_each_dialect():
    openai, _ = read(
        "openai", {"choices": [{"delta": {"reasoning_content": "hm"}}]}, {"choices": [{"delta": {"content": "a"}}]}
    )
    block = {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}
    signed = {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}}
    anthropic, _ = read("anthropic", block, signed)
    assert openai.message().content == (generation.Thinking("hm"), generation.Text("a"))
    assert anthropic.message().content == (generation.Thinking("hm", "s"),)
    chunk = kinds.of("ollama").reader().read(b'{"message":{"thinking":"hm"}}\n')
    assert chunk == Chunk(thinking="hm")


Json = some.recursive(
    some.none() | some.booleans() | some.integers(-5, 5) | some.text(max_size=4),
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(
            some.sampled_from(
                ["type", "choices", "delta", "message", "usage", "content", "error", "tool_calls", "function", "index"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(some.binary(max_size=60) | Json.map(lambda said: json.dumps(said).encode()))
def test_no_answer_breaks_a_reader_otherwise_than_by_saying_so(nonsense: bytes):
    kinds.words(nonsense)
    for kind in ("openai", "ollama", "anthropic"):
        of = kinds.of(kind)
        with contextlib.suppress(errors.UpstreamFailed):
            of.answer(nonsense)
        with contextlib.suppress(errors.UpstreamFailed):
            of.reader().read(b"data: " + nonsense + b"\n\n")
