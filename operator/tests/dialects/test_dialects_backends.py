"""Every dialect to every kind of backend: the official clients, the real handler, and a stand-in for the models.

Where caller and backend speak alike, a stream goes through untouched; the client must not be able to tell.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from dialects_stage import Stage
from openai import AsyncOpenAI

from aion.api.grant import Backend, ModelRoute
from aion.dialects.served import Served
from aion.syscalls import testing
from aion.syscalls.model_generate import ModelGenerate
from aion.syscalls.models.standin import StandIn

KINDS = ("openai", "ollama", "anthropic")
EACH_KIND = pytest.mark.parametrize("kind", KINDS)
EITHER_WAY = pytest.mark.parametrize("stream", [False, True])
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@asynccontextmanager
async def standing(kind: str) -> AsyncIterator[tuple[str, Stage]]:
    """The URL of an agent's socket, with one backend behind it."""
    handler = ModelGenerate(testing.FixedKeys())
    async with StandIn().serving() as standin:
        backend: Any = {"name": kind, "kind": kind, "url": standin.url + ("/v1" if kind == "openai" else "")}
        granted = testing.granted(
            models=[ModelRoute(model="echo", backends=(kind,)), ModelRoute(model="any-*", backends=(kind,))],
            backends=[Backend(**backend, price_in=1_000_000, price_out=1_000_000)],
        )
        stage = Stage(granted, handlers=(handler,))
        served = Served(stage.router, standing=lambda who: stage.door.standing(who, who.agent_id))
        faces = [face for path in served.paths if (face := served.at(path)) is not None]
        async with stage.served(*faces) as port:
            yield f"http://127.0.0.1:{port}", stage
    await handler.close()


def openai(url: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-anything", max_retries=0)


def anthropic(url: str) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=url, api_key="sk-anything", max_retries=0)


def paid(stage: Stage) -> bool:
    """Was the one call recorded, with what it took?"""
    (record,) = stage.audit.records
    return record.code == "" and record.tokens_in > 0 and record.micro_usd == record.tokens_in + record.tokens_out


@EACH_KIND
@EITHER_WAY
async def test_chat_completions(kind: str, stream: bool):
    async with standing(kind) as (url, stage), openai(url) as client:
        asked: Any = {"model": "echo", "messages": [{"role": "user", "content": "one two"}]}
        if stream:
            async with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as events:
                made = await events.get_final_completion()
        else:
            made = await client.chat.completions.create(**asked)
    assert "one two" in made.choices[0].message.content
    assert made.choices[0].finish_reason == "stop"
    assert made.usage is not None
    assert made.usage.completion_tokens == stage.audit.records[0].tokens_out
    assert paid(stage)


@EACH_KIND
@EITHER_WAY
async def test_chat_completions_with_a_tool(kind: str, stream: bool):
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
    async with standing(kind) as (url, stage), openai(url) as client:
        asked: Any = {"model": "echo", "messages": [{"role": "user", "content": "in Ulm?"}], "tools": [tool]}
        if stream:
            async with client.chat.completions.stream(**asked) as events:
                made = await events.get_final_completion()
        else:
            made = await client.chat.completions.create(**asked)
    (call,) = made.choices[0].message.tool_calls or ()
    assert (call.function.name, "city" in call.function.arguments) == ("weather", True)
    assert made.choices[0].finish_reason == "tool_calls"
    assert paid(stage)


@EACH_KIND
@EITHER_WAY
async def test_responses_with_a_tool_and_its_result(kind: str, stream: bool):
    tool: Any = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
    async with standing(kind) as (url, stage), openai(url) as client:
        conversation: Any = [{"role": "user", "content": "in Ulm?"}]
        for _ in range(2):
            asked: Any = {"model": "echo", "input": conversation, "tools": [tool]}
            if stream:
                async with client.responses.stream(**asked) as events:
                    made = await events.get_final_response()
            else:
                made = await client.responses.create(**asked)
            calls = [item for item in made.output if item.type == "function_call"]
            if calls:
                conversation += [item.model_dump(exclude_none=True) for item in made.output]
                conversation += [{"type": "function_call_output", "call_id": calls[0].call_id, "output": "rain"}]
    assert "rain" in made.output_text
    assert [record.code for record in stage.audit.records] == ["", ""]


@EACH_KIND
@EITHER_WAY
async def test_messages_with_a_tool_and_its_result(kind: str, stream: bool):
    tool: Any = {"name": "weather", "input_schema": SCHEMA}
    async with standing(kind) as (url, stage), anthropic(url) as client:
        conversation: Any = [{"role": "user", "content": "in Ulm?"}]
        for _ in range(2):
            asked: Any = {"model": "echo", "max_tokens": 99, "messages": conversation, "tools": [tool]}
            if stream:
                async with client.messages.stream(**asked) as events:
                    made = await events.get_final_message()
            else:
                made = await client.messages.create(**asked)
            calls = [block for block in made.content if block.type == "tool_use"]
            if calls:
                assert (made.stop_reason, "city" in calls[0].input) == ("tool_use", True)
                result = {"type": "tool_result", "tool_use_id": calls[0].id, "content": "rain"}
                conversation += [{"role": "assistant", "content": made.content}, {"role": "user", "content": [result]}]
    assert "rain" in "".join(block.text for block in made.content if block.type == "text")
    assert made.usage.output_tokens == stage.audit.records[1].tokens_out


async def test_both_clients_find_the_models_that_may_be_asked_for():
    async with standing("openai") as (url, stage):
        async with openai(url) as client:
            assert [model.id async for model in client.models.list()] == ["echo"]
        async with anthropic(url) as client:
            assert [model.id async for model in client.models.list()] == ["echo"]
        stage.door.grant(
            testing.granted(syscalls=["tool.invoke"], models=stage.grant.models, backends=stage.grant.backends)
        )
        async with openai(url) as client:
            assert [model.id async for model in client.models.list()] == []
    assert stage.audit.records == []
