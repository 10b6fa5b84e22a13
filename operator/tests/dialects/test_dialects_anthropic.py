"""The official Anthropic client against messages: whole and streamed, tools, thoughts, refusals, and the client that leaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic
from dialects_stage import Stage
from stub_model import StubModel

from aion.api import errors, generation
from aion.api.generation import Chunk, Image, Message, NamedTool, Text, Thinking, ToolCall, ToolDelta
from aion.dialects.anthropic_messages import Messages
from aion.dialects.generating import Generating
from aion.syscalls import testing

WEATHER: Any = {"name": "weather", "description": "Look outside.", "input_schema": {"type": "object"}}
ASK: Any = {"model": "small", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
HELLO = (Chunk(text="Hel"), Chunk(text="lo"), Chunk(finish_reason="stop"))
ALL = (
    Chunk(thinking="Which "),
    Chunk(thinking="city?", signature="s1g"),
    Chunk(redacted="sealed"),
    Chunk(text="Let me look."),
    Chunk(tool_calls=(ToolDelta(index=0, id="c1", name="weather", arguments='{"city":'),)),
    Chunk(tool_calls=(ToolDelta(index=0, arguments='"Ulm"}'), ToolDelta(index=1, id="c2", name="weather"))),
    Chunk(finish_reason="tool_calls"),
)


@asynccontextmanager
async def asking(model: StubModel, **changes: Any) -> AsyncIterator[tuple[AsyncAnthropic, Stage]]:
    stage = Stage(testing.granted(**changes), handlers=(model,))
    async with (
        stage.served(Generating(stage.router, Messages())) as port,
        AsyncAnthropic(base_url=f"http://127.0.0.1:{port}", api_key="sk-anything", max_retries=0) as client,
    ):
        yield client, stage


async def test_a_question_is_answered_whole():
    async with asking(StubModel(*HELLO)) as (client, stage):
        made = await client.messages.create(**ASK)
    assert (made.content[0].text, made.stop_reason, made.model) == ("Hello", "end_turn", "stub-1")
    assert (made.usage.input_tokens, made.usage.cache_read_input_tokens, made.usage.output_tokens) == (8, 3, 7)
    (record,) = stage.audit.records
    assert (made.id, made._request_id) == (f"msg_{record.audit_id}", record.audit_id)


async def test_an_answer_streams_as_it_comes():
    async with asking(StubModel(*HELLO)) as (client, _), client.messages.stream(**ASK) as stream:
        assert [text async for text in stream.text_stream] == ["Hel", "lo"]
        made = await stream.get_final_message()
    assert (made.stop_reason, made.usage.output_tokens, made.usage.input_tokens) == ("end_turn", 7, 8)


async def test_thoughts_words_and_tool_calls_come_whole_and_streamed_in_their_order():
    async with asking(StubModel(*ALL)) as (client, _):
        whole = await client.messages.create(**ASK, tools=[WEATHER])
        async with client.messages.stream(**ASK, tools=[WEATHER]) as stream:
            streamed = await stream.get_final_message()
    for made in (whole, streamed):
        assert made.stop_reason == "tool_use"
        calls = [block for block in made.content if block.type == "tool_use"]
        assert [(call.id, call.name, call.input) for call in calls] == [
            ("c1", "weather", {"city": "Ulm"}),
            ("c2", "weather", {}),
        ]
        (text,) = [block.text for block in made.content if block.type == "text"]
        assert text == "Let me look."
        assert (made.content[0].type, made.content[0].thinking, made.content[0].signature) == (
            "thinking",
            "Which city?",
            "s1g",
        )
    assert [block.type for block in streamed.content] == [
        "thinking",
        "redacted_thinking",
        "text",
        "tool_use",
        "tool_use",
    ]


async def test_the_events_come_in_the_dialects_own_order():
    async with asking(StubModel(*HELLO)) as (client, _):
        events = [event.type async for event in await client.messages.create(**ASK, stream=True)]
    assert events == [
        "message_start", "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip


async def test_everything_that_is_asked_reaches_the_model_in_no_dialect():
    model = StubModel(*HELLO)
    async with asking(model) as (client, _):
        await client.messages.create(
            model="small", max_tokens=9, stop_sequences=["x"], metadata={"user_id": "me"},
            extra_body={"temperature": 0.5, "top_p": 0.9, "top_k": 5, "something_new": {"deep": 1}},
            system=[{"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "Be kind."}],
            messages=[
                {"role": "user", "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                ]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "Hm", "signature": "s1g"},
                    {"type": "redacted_thinking", "data": "sealed"},
                    {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Ulm"}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "is_error": True, "content": [{"type": "text", "text": "no"}]},
                    {"type": "text", "text": "And now?"},
                ]},
            ],
            tools=[WEATHER], tool_choice={"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
            output_config={"effort": "max", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        )  # fmt: skip
    assert model.request == generation.Request(
        model="small", max_tokens=9, temperature=0.5, top_p=0.9, top_k=5, stop=("x",),
        messages=(
            Message(role="system", content="Be short.\n\nBe kind."),
            Message(role="user", content=(Text("What is it?"), Image("data:image/png;base64,aGk="))),
            Message(
                role="assistant", content=(Thinking("Hm", signature="s1g"), Thinking(redacted="sealed")),
                tool_calls=(ToolCall("c1", "weather", '{"city":"Ulm"}'),),
            ),
            Message(role="tool", tool_call_id="c1", content=(Text("no"),), failed=True),
            Message(role="user", content=(Text("And now?"),)),
        ),
        tools=(generation.Tool(name="weather", description="Look outside.", parameters={"type": "object"}),),
        tool_choice=NamedTool("weather"), parallel_tool_calls=False, reasoning_effort="xhigh",
        response_format=generation.Format(type="json_schema", schema={"type": "object"}),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("extra", "where"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
        ({"mcp_servers": [{"url": "https://x"}]}, "mcp_servers"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages[0].content[0].type"),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "tool_result", "tool_use_id": "x"}]}]},
            "messages[0].content[0]",
        ),
        ({"messages": []}, "messages"),
        ({"max_tokens": None}, "max_tokens"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
    ],
)
async def test_what_cannot_be_promised_or_read_is_refused_with_its_place_and_recorded(
    extra: dict[str, Any], where: str
):
    async with asking(StubModel(*HELLO)) as (client, stage):
        with pytest.raises(anthropic.BadRequestError) as refused:
            await client.post("/v1/messages", body={**ASK, **extra}, cast_to=object)
    said: Any = refused.value.body
    assert (said["type"], said["error"]["type"]) == ("error", "invalid_request_error")
    assert "E_PARAMS" in said["error"]["message"]
    assert where in said["error"]["message"]
    assert stage.codes == [("model.generate", "E_PARAMS")]


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (errors.PolicyDenied("no such route", rule="models.routes@rev7"), 403, "permission_error"),
        (errors.BudgetSpent("0 USD left"), 402, "billing_error"),
        (errors.QuotaExceeded("too many", retry_after_ms=1500), 429, "rate_limit_error"),
        (errors.UpstreamFailed("the backend is down"), 502, "api_error"),
        (errors.TimedOut("too slow"), 504, "timeout_error"),
    ],
)
async def test_a_failure_is_said_in_the_dialects_own_form(error: errors.SyscallError, status: int, kind: str):
    async with asking(StubModel(error)) as (client, stage):
        with pytest.raises(anthropic.APIStatusError) as failed:
            await client.messages.create(**ASK)
    said: Any = failed.value.body
    assert (failed.value.status_code, said["error"]["type"]) == (status, kind)
    assert said["error"]["message"].startswith(error.code)
    assert said["request_id"] == stage.audit.records[0].audit_id


async def test_a_stream_that_breaks_is_an_error_and_no_good_end():
    async with asking(StubModel(Chunk(text="Hel"), errors.UpstreamFailed("the backend hung up"))) as (client, stage):
        with pytest.raises(anthropic.APIStatusError, match="hung up"):
            async with client.messages.stream(**ASK) as stream:
                await stream.get_final_message()
    assert stage.codes == [("model.generate", "E_UPSTREAM")]


async def test_a_client_that_leaves_lets_go_of_the_model_and_leaves_one_record():
    async with asking(model := StubModel(Chunk(text="Hel"), asyncio.Event())) as (client, stage):
        async with client.messages.stream(**ASK) as stream:
            assert await anext(aiter(stream.text_stream)) == "Hel"
        async with asyncio.timeout(5):
            while not stage.audit.records:
                await asyncio.sleep(0.001)
    assert len(stage.audit.records) == 1
    assert model.begun[0].closed == 1


async def test_no_two_blocks_are_open_at_once_and_none_is_left_open():
    async with asking(StubModel(*ALL)) as (client, _):
        events = [event async for event in await client.messages.create(**ASK, stream=True)]
    open_at: int | None = None
    for event in events:
        match event.type:
            case "content_block_start":
                assert open_at is None
                open_at = event.index
            case "content_block_delta":
                assert event.index == open_at
            case "content_block_stop":
                assert event.index == open_at
                open_at = None
    assert open_at is None
    assert [event.index for event in events if event.type == "content_block_start"] == [0, 1, 2, 3, 4]
