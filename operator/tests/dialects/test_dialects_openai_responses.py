"""The official OpenAI client against responses: whole and streamed, tools, thoughts, refusals, and the client that leaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from dialects_stage import Stage
from openai import AsyncOpenAI
from stub_model import StubModel

from aion.api import errors, generation
from aion.api.generation import Chunk, Image, Message, NamedTool, Text, Thinking, ToolCall, ToolDelta
from aion.dialects.generating import Generating
from aion.dialects.openai_responses import Responses
from aion.syscalls import testing

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "Look outside.",
    "parameters": {"type": "object"},
    "strict": False,
}
ASK: Any = {"model": "small", "input": "Hi"}
HELLO = (Chunk(text="Hel"), Chunk(text="lo"), Chunk(finish_reason="stop"))
ALL = (
    Chunk(thinking="Which "),
    Chunk(thinking="city?"),
    Chunk(text="Let me look."),
    Chunk(tool_calls=(ToolDelta(index=0, id="c1", name="weather", arguments='{"city":'),)),
    Chunk(tool_calls=(ToolDelta(index=0, arguments='"Ulm"}'), ToolDelta(index=1, id="c2", name="weather"))),
    Chunk(finish_reason="tool_calls"),
)


@asynccontextmanager
async def asking(model: StubModel, **changes: Any) -> AsyncIterator[tuple[AsyncOpenAI, Stage]]:
    stage = Stage(testing.granted(**changes), handlers=(model,))
    async with (
        stage.served(Generating(stage.router, Responses())) as port,
        AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="sk-anything", max_retries=0) as client,
    ):
        yield client, stage


async def test_a_question_is_answered_whole():
    async with asking(StubModel(*HELLO)) as (client, stage):
        made = await client.responses.create(**ASK, instructions="Be short.", metadata={"a": "b"})
    assert (made.output_text, made.status, made.model) == ("Hello", "completed", "stub-1")
    assert (made.usage.input_tokens, made.usage.output_tokens, made.usage.total_tokens) == (11, 7, 18)
    assert (made.usage.input_tokens_details.cached_tokens, made.usage.output_tokens_details.reasoning_tokens) == (3, 2)
    assert (made.instructions, made.metadata, made.store) == ("Be short.", {"a": "b"}, False)
    (record,) = stage.audit.records
    assert (made.id, made._request_id) == (f"resp_{record.audit_id}", record.audit_id)


async def test_thoughts_words_and_tool_calls_are_the_same_items_whole_and_streamed():
    async with asking(StubModel(*ALL)) as (client, _):
        whole = await client.responses.create(**ASK, tools=[WEATHER])
        async with client.responses.stream(**ASK, tools=[WEATHER]) as stream:
            streamed = await stream.get_final_response()
    for made in (whole, streamed):
        thought, said, first, second = made.output
        assert (thought.type, thought.summary[0].text) == ("reasoning", "Which city?")
        assert (said.type, said.content[0].text) == ("message", "Let me look.")
        assert [(call.call_id, call.name, call.arguments) for call in (first, second)] == [
            ("c1", "weather", '{"city":"Ulm"}'),
            ("c2", "weather", "{}"),
        ]
        assert len({item.id for item in made.output}) == 4
    assert streamed.usage.total_tokens == 18


async def test_the_events_come_in_the_dialects_own_order_and_count_without_a_gap():
    async with asking(StubModel(*ALL)) as (client, _):
        events = [event async for event in await client.responses.create(**ASK, stream=True)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    call = ["output_item.added", "function_call_arguments.delta", "function_call_arguments.delta"]
    assert kinds == [
        "created", "in_progress",
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta", "reasoning_summary_text.delta",
        "reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done", "output_item.done",
        *call, "function_call_arguments.done", "output_item.done",
        "output_item.added", "function_call_arguments.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    added = [event.output_index for event in events if event.type == "response.output_item.added"]
    done = [event.output_index for event in events if event.type == "response.output_item.done"]
    assert added == done == [0, 1, 2, 3]
    growing = {event.item_id for event in events if event.type.endswith(".delta")}
    assert growing <= {item.id for item in events[-1].response.output}


async def test_an_answer_that_was_cut_off_is_incomplete_and_says_why():
    async with asking(StubModel(Chunk(text="Hel"), Chunk(finish_reason="length"))) as (client, _):
        whole = await client.responses.create(**ASK)
        *_, last = [event async for event in await client.responses.create(**ASK, stream=True)]
    assert last.type == "response.incomplete"
    for made in (whole, last.response):
        assert (made.status, made.incomplete_details.reason) == ("incomplete", "max_output_tokens")


async def test_everything_that_is_asked_reaches_the_model_in_no_dialect():
    model = StubModel(*HELLO)
    async with asking(model) as (client, _):
        await client.responses.create(
            model="small", instructions="Be short.", max_output_tokens=9, temperature=0.5, top_p=0.9,
            input=[
                {"role": "developer", "content": "Be kind."},
                {"type": "message", "role": "user", "content": [
                    {"type": "input_text", "text": "What is it?"},
                    {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"},
                ]},
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]},
                {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed", "content": [
                    {"type": "output_text", "text": "I look.", "annotations": []},
                ]},
                {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": "{}"},
                {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "rain"},
                {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "sun"}]},
                {"role": "user", "content": "And?"},
            ],
            tools=[WEATHER], tool_choice={"type": "function", "name": "weather"}, parallel_tool_calls=False,
            text={"format": {"type": "json_schema", "name": "w", "schema": {"type": "object"}, "strict": True}, "verbosity": "low"},
            reasoning={"effort": "low"}, store=False, truncation="auto", include=["reasoning.encrypted_content"], user="me",
        )  # fmt: skip
    assert model.request == generation.Request(
        model="small", max_tokens=9, temperature=0.5, top_p=0.9,
        messages=(
            Message(role="system", content="Be short."),
            Message(role="system", content="Be kind."),
            Message(role="user", content=(Text("What is it?"), Image("data:image/png;base64,aGk="))),
            Message(
                role="assistant", content=(Thinking("Hm"), Text("I look.")),
                tool_calls=(ToolCall("c1", "weather", "{}"), ToolCall("c2", "weather", "{}")),
            ),
            Message(role="tool", tool_call_id="c1", content="rain"),
            Message(role="tool", tool_call_id="c2", content=(Text("sun"),)),
            Message(role="user", content="And?"),
        ),
        tools=(generation.Tool(name="weather", description="Look outside.", parameters={"type": "object"}, strict=False),),
        tool_choice=NamedTool("weather"), parallel_tool_calls=False, reasoning_effort="low",
        response_format=generation.Format(type="json_schema", schema={"type": "object"}, name="w", strict=True),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].type"),
        ({"input": [{"type": "computer_call_output"}]}, "input[0].type"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": []}, "messages"),
        ({"input": None}, "input"),
    ],
)
async def test_what_cannot_be_promised_or_read_is_refused_with_its_place_and_recorded(
    extra: dict[str, Any], param: str
):
    async with asking(StubModel(*HELLO)) as (client, stage):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.post("/responses", body={**ASK, **extra}, cast_to=object)
    assert (refused.value.type, refused.value.code) == ("invalid_request_error", "E_PARAMS")
    assert (refused.value.param or "").strip("/") == param
    assert stage.codes == [("model.generate", "E_PARAMS")]


async def test_a_failure_is_the_clients_own_exception_and_in_a_stream_a_failed_response():
    spent = errors.BudgetSpent("0 USD left")
    async with asking(StubModel(spent)) as (client, _):
        with pytest.raises(openai.RateLimitError) as failed:
            await client.responses.create(**ASK)
        assert (failed.value.code, failed.value.type) == ("E_BUDGET", "insufficient_quota")
    async with asking(StubModel(Chunk(text="Hel"), errors.UpstreamFailed("the backend hung up"))) as (client, stage):
        *_, last = [event async for event in await client.responses.create(**ASK, stream=True)]
        assert (last.type, last.response.status, last.response.error.code) == (
            "response.failed",
            "failed",
            "server_error",
        )
        assert "hung up" in last.response.error.message
    assert stage.codes == [("model.generate", "E_UPSTREAM")]


async def test_a_client_that_leaves_lets_go_of_the_model_and_leaves_one_record():
    async with asking(model := StubModel(Chunk(text="Hel"), asyncio.Event())) as (client, stage):
        stream = await client.responses.create(**ASK, stream=True)
        async for event in stream:
            if event.type == "response.output_text.delta":
                break
        await stream.close()
        async with asyncio.timeout(5):
            while not stage.audit.records:
                await asyncio.sleep(0.001)
    assert len(stage.audit.records) == 1
    assert model.begun[0].closed == 1
