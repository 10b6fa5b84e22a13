"""The official OpenAI client against chat completions: whole and streamed, tools, refusals, and the client that leaves."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from dialects_stage import Stage
from openai import AsyncOpenAI
from stub_model import StubModel

from aion.api import errors, generation
from aion.api.generation import Chunk, Image, Message, NamedTool, Text, ToolCall, ToolDelta
from aion.dialects.generating import Generating
from aion.dialects.openai_chat import Chat
from aion.syscalls import testing

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Look outside.",
        "parameters": {"type": "object", "properties": {"city": {}}},
    },
}
ASK: Any = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
HELLO = (Chunk(text="Hel"), Chunk(text="lo"), Chunk(finish_reason="stop"))
CALLS = (
    Chunk(thinking="Which city? "),
    Chunk(tool_calls=(ToolDelta(index=0, id="c1", name="weather", arguments='{"city":'),)),
    Chunk(tool_calls=(ToolDelta(index=0, arguments='"Ulm"}'),)),
    Chunk(tool_calls=(ToolDelta(index=1, id="c2", name="weather", arguments="{}"),)),
    Chunk(finish_reason="tool_calls"),
)


@asynccontextmanager
async def asking(model: StubModel, **changes: Any) -> AsyncIterator[tuple[AsyncOpenAI, Stage]]:
    stage = Stage(testing.granted(**changes), handlers=(model,))
    face = Generating(stage.router, Chat(), clock=lambda: 1234.5)
    async with (
        stage.served(face) as port,
        AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="sk-anything", max_retries=0) as client,
    ):
        yield client, stage


async def test_a_question_is_answered_whole():
    model = StubModel(*HELLO)
    async with asking(model) as (client, stage):
        made = await client.chat.completions.create(**ASK)
    assert (made.choices[0].message.content, made.choices[0].finish_reason) == ("Hello", "stop")
    assert (made.model, made.created) == ("stub-1", 1234)
    assert made.usage is not None
    assert (made.usage.prompt_tokens, made.usage.completion_tokens, made.usage.total_tokens) == (11, 7, 18)
    assert made.usage.prompt_tokens_details.cached_tokens == 3
    assert made.usage.completion_tokens_details.reasoning_tokens == 2
    (record,) = stage.audit.records
    assert (record.syscall, record.subject, record.tokens_in, record.tokens_out) == ("model.generate", "small", 11, 7)
    assert made.id == f"chatcmpl-{record.audit_id}"
    assert made._request_id == record.audit_id


async def test_an_answer_streams_as_it_comes_and_says_its_usage_where_it_was_asked_to():
    async with asking(StubModel(*HELLO)) as (client, _):
        stream = await client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
        plain = [chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 18
    assert not any(chunk.usage for chunk in plain)
    assert all(chunk.choices for chunk in plain)


async def test_tool_calls_come_whole_and_streamed_in_fragments():
    async with asking(StubModel(*CALLS)) as (client, _):
        made = await client.chat.completions.create(**ASK, tools=[WEATHER])
        async with client.chat.completions.stream(**ASK, tools=[WEATHER]) as stream:
            streamed = await stream.get_final_completion()
    for each in (made, streamed):
        message = each.choices[0].message
        assert message.content in {None, ""}
        assert each.choices[0].finish_reason == "tool_calls"
        said = [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls]
        assert said == [("c1", "weather", '{"city":"Ulm"}'), ("c2", "weather", "{}")]
        assert message.reasoning_content == "Which city? "


async def test_everything_that_is_asked_reaches_the_model_in_no_dialect():
    model = StubModel(*HELLO)
    async with asking(model) as (client, _):
        await client.chat.completions.create(
            model="small",
            messages=[
                {"role": "developer", "content": "Be short."},
                {"role": "user", "name": "ann", "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
                ]},
                {"role": "assistant", "content": None, "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
                ]},
                {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "rain"}]},
            ],
            max_completion_tokens=9, temperature=0.5, top_p=0.9, presence_penalty=1, frequency_penalty=-1, seed=4, stop="x",
            tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "weather"}}, parallel_tool_calls=False,
            reasoning_effort="low", user="me", metadata={"a": "b"}, store=False, n=1,
            response_format={"type": "json_schema", "json_schema": {"name": "w", "schema": {"type": "object"}, "strict": True}},
            extra_body={"top_k": 5, "something_new": {"deep": 1}},
        )  # fmt: skip
    assert model.request == generation.Request(
        model="small",
        messages=(
            Message(role="system", content="Be short."),
            Message(role="user", name="ann", content=(Text("What is it?"), Image("data:image/png;base64,aGk="))),
            Message(role="assistant", tool_calls=(ToolCall("c1", "weather", "{}"),)),
            Message(role="tool", tool_call_id="c1", content=(Text("rain"),)),
        ),
        max_tokens=9, temperature=0.5, top_p=0.9, top_k=5, presence_penalty=1, frequency_penalty=-1, seed=4, stop=("x",),
        tools=(generation.Tool(name="weather", description="Look outside.", parameters=WEATHER["function"]["parameters"]),),
        tool_choice=NamedTool("weather"), parallel_tool_calls=False, reasoning_effort="low",
        response_format=generation.Format(type="json_schema", schema={"type": "object"}, name="w", strict=True),
        stream_usage=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"store": True}, "store"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": []}, "messages"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type"),
    ],
)
async def test_what_cannot_be_promised_or_read_is_refused_with_its_place_and_recorded(
    extra: dict[str, Any], param: str
):
    async with asking(model := StubModel(*HELLO)) as (client, stage):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.post("/chat/completions", body={**ASK, **extra}, cast_to=object)
    assert (refused.value.type, refused.value.code) == ("invalid_request_error", "E_PARAMS")
    assert (refused.value.param or "").strip("/").replace("/", ".") == param
    assert stage.codes == [("model.generate", "E_PARAMS")]
    assert model.begun == []


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (errors.PolicyDenied("no such route", rule="models.routes@rev7"), openai.PermissionDeniedError, "E_POLICY"),
        (errors.BudgetSpent("0 USD left"), openai.RateLimitError, "E_BUDGET"),
        (errors.QuotaExceeded("too many", retry_after_ms=1500), openai.RateLimitError, "E_QUOTA"),
        (errors.Preempted("yield"), openai.ConflictError, "E_PREEMPT"),
        (errors.UpstreamFailed("the backend is down"), openai.InternalServerError, "E_UPSTREAM"),
    ],
)
async def test_a_failure_is_the_clients_own_exception_with_the_contracts_code(
    error: errors.SyscallError, kind: Any, code: str
):
    async with asking(StubModel(error)) as (client, _):
        with pytest.raises(kind) as failed:
            await client.chat.completions.create(**ASK)
    assert failed.value.code == code
    assert failed.value.response.headers["x-should-retry"] == ("true" if error.retryable else "false")
    if error.rule:
        assert "(rule: models.routes@rev7)" in failed.value.message
    if error.retry_after_ms:
        assert failed.value.response.headers["retry-after"] == "2"


async def test_without_the_syscall_nothing_is_asked():
    async with asking(model := StubModel(*HELLO), syscalls=["tool.invoke"]) as (client, stage):
        with pytest.raises(openai.PermissionDeniedError, match=r"may not call model\.generate"):
            await client.chat.completions.create(**ASK)
    assert stage.codes == [("model.generate", "E_CAPABILITY")]
    assert model.asked == []


async def test_a_stream_that_breaks_is_an_error_and_no_good_end():
    async with asking(StubModel(Chunk(text="Hel"), errors.UpstreamFailed("the backend hung up"))) as (client, stage):
        stream = await client.chat.completions.create(**ASK, stream=True)
        with pytest.raises(openai.APIError, match="hung up"):
            _ = [chunk async for chunk in stream]
    assert stage.codes == [("model.generate", "E_UPSTREAM")]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_lets_go_of_the_model_and_leaves_one_record(stream: bool):
    never = asyncio.Event()
    async with asking(model := StubModel(Chunk(text="Hel"), never)) as (client, stage):
        if stream:
            answer = await client.chat.completions.create(**ASK, stream=True)
            assert (await anext(aiter(answer))).choices[0].delta.content == "Hel"
            await answer.close()
        else:
            call = asyncio.create_task(client.chat.completions.create(**ASK))
            async with asyncio.timeout(5):
                while not model.asked:
                    await asyncio.sleep(0.001)
            call.cancel()
        async with asyncio.timeout(5):
            while not stage.audit.records:
                await asyncio.sleep(0.001)
    assert len(stage.audit.records) == 1
    assert [pieces.closed for pieces in model.begun] == [1] * stream
    assert model.cancelled.is_set() is not stream


async def test_what_is_no_json_and_no_post_is_told_so_in_openais_form():
    import aiohttp

    stage = Stage(testing.granted(), handlers=(StubModel(),))
    async with stage.served(Generating(stage.router, Chat())) as port, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        async with session.post(url, data=b"{") as answer:
            assert (answer.status, json.loads(await answer.text())["error"]["code"]) == (400, "E_BAD_REQUEST")
        async with session.get(url) as answer:
            assert (answer.status, "expected POST" in (await answer.json())["error"]["message"]) == (405, True)
