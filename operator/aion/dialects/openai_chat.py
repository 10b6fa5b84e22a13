"""OpenAI's `POST /v1/chat/completions`: what LangGraph, CrewAI and most clients of OpenAI speak. Pure.

Apart as one dialect of three. What cannot be promised is refused by name (a second choice, log probabilities, sound); fields
that change nothing here (user, metadata, store: false) and those that are not known are passed over. It must never answer
another question than was asked.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from aion.api import errors, generation
from aion.api.generation import Generated, Message, NamedTool, Text, Thinking, Tool
from aion.dialects import generating, openai_errors
from aion.dialects.generating import About, Said
from aion.dialects.openai_chat_stream import ChunkWriter, usage
from aion.dialects.streaming import Writer


class _Text(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class _Refusal(msgspec.Struct, tag_field="type", tag="refusal"):
    refusal: str


class _Url(msgspec.Struct):
    url: str


class _Image(msgspec.Struct, tag_field="type", tag="image_url"):
    image_url: _Url


class _Called(msgspec.Struct):
    name: str
    arguments: str = "{}"


class _Call(msgspec.Struct, tag_field="type", tag="function"):
    id: str
    function: _Called


class _Turn(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Text | _Image | _Refusal] | None = None
    name: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(msgspec.Struct, tag_field="type", tag="function"):
    function: _Function


class _Named(msgspec.Struct):
    name: str


class _Choice(msgspec.Struct, tag_field="type", tag="function"):
    function: _Named


class _Schema(msgspec.Struct):
    name: str = "answer"
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class _Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _Options(msgspec.Struct):
    include_usage: bool | None = None


class Question(msgspec.Struct):
    """The request."""

    model: str
    messages: list[_Turn]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    response_format: _Format | None = None
    tools: list[_Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | _Choice | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    stream: bool | None = None
    stream_options: _Options | None = None
    n: int | None = None
    logprobs: bool | None = None
    logit_bias: dict[str, float] | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    functions: list[Any] | None = None
    web_search_options: dict[str, Any] | None = None
    store: bool | None = None


_question = msgspec.json.Decoder(Question)


class Chat:
    """The dialect."""

    path = "/v1/chat/completions"
    id_header = b"x-request-id"
    relays: generation.Dialect = "openai"

    def read(self, body: bytes) -> Question:
        """Read a request; raises BadParams."""
        asked = generating.read(_question, body)
        if asked.n not in (None, 1):
            raise generating.wrong("n", f"got {asked.n}, expected 1: each question has one answer")
        if set(asked.modalities or ()) - {"text"}:
            raise generating.wrong("modalities", "expected text alone")
        generating.cannot(
            {"logprobs": asked.logprobs, "logit_bias": asked.logit_bias, "audio": asked.audio, "store": asked.store},
            because="no backend behind this face promises it",
        )
        generating.cannot({"functions": asked.functions}, because="give tools, which took its place")
        generating.cannot({"web_search_options": asked.web_search_options}, because="give a tool that searches")
        return asked

    def asked(self, question: Question) -> generation.Request:
        """The question in no dialect."""
        stop = question.stop
        most = question.max_tokens if question.max_completion_tokens is None else question.max_completion_tokens
        choice = question.tool_choice
        return generation.Request(
            model=question.model,
            messages=tuple(_message(turn, at) for at, turn in enumerate(question.messages)),
            max_tokens=most,
            temperature=question.temperature,
            top_p=question.top_p,
            top_k=question.top_k,
            presence_penalty=question.presence_penalty,
            frequency_penalty=question.frequency_penalty,
            seed=question.seed,
            stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
            response_format=None if question.response_format is None else _format(question.response_format),
            tools=tuple(_tool(tool.function) for tool in question.tools or ()),
            tool_choice=NamedTool(choice.function.name) if isinstance(choice, _Choice) else choice,
            parallel_tool_calls=question.parallel_tool_calls if question.tools else None,
            reasoning_effort=question.reasoning_effort,
            stream=bool(question.stream),
            stream_usage=_wants_usage(question),
        )

    def whole(self, question: Question, made: Generated, about: About) -> dict[str, Any]:  # noqa: ARG002 - the protocol's
        """`chat.completion`."""
        return {
            "id": f"chatcmpl-{about.id}",
            "object": "chat.completion",
            "created": about.created,
            "model": about.model,
            "choices": [
                {"index": 0, "message": _said(made.message), "logprobs": None, "finish_reason": made.finish_reason}
            ],
            "usage": usage(made.usage),
        }

    def writer(self, question: Question, about: About) -> Writer:
        """`chat.completion.chunk`, again and again."""
        return ChunkWriter(about, with_usage=_wants_usage(question))

    def failure(self, error: errors.SyscallError, audit_id: str) -> Said:  # noqa: ARG002 - the protocol's
        """`{"error": …}`."""
        return openai_errors.failure(error)


def _wants_usage(question: Question) -> bool:
    return question.stream_options is not None and bool(question.stream_options.include_usage)


def _message(turn: _Turn, at: int) -> Message:
    if turn.role == "tool" and not turn.tool_call_id:
        raise generating.wrong(f"messages[{at}].tool_call_id", "a tool's result says which call it answers")
    content = turn.content or ""
    return Message(
        role="system" if turn.role == "developer" else turn.role,
        content=content if isinstance(content, str) else tuple(_part(part) for part in content),
        tool_calls=tuple(
            generation.ToolCall(call.id, call.function.name, call.function.arguments) for call in turn.tool_calls or ()
        ),
        tool_call_id=turn.tool_call_id or "",
        name=turn.name or "",
    )


def _part(part: _Text | _Image | _Refusal) -> generation.Part:
    match part:
        case _Text(text=text) | _Refusal(refusal=text):
            return Text(text)
        case _Image(image_url=image):
            return generation.Image(image.url)


def _tool(function: _Function) -> Tool:
    return Tool(
        name=function.name,
        description=function.description or "",
        parameters=function.parameters or {"type": "object", "properties": {}},
        strict=function.strict,
    )


def _format(wanted: _Format) -> generation.Format:
    if wanted.type == "json_schema":
        schema = wanted.json_schema or _Schema()
        return generation.Format(type="json_schema", schema=schema.schema, name=schema.name, strict=schema.strict)
    return generation.Format(type="json" if wanted.type == "json_object" else "text")


def _said(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant", "content": message.text or None, "refusal": None}
    if thought := thinking(message.content):
        said["reasoning_content"] = thought
    if message.tool_calls:
        said["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    elif said["content"] is None:
        said["content"] = ""
    return said


def thinking(content: str | Sequence[generation.Part]) -> str:
    """The thoughts in a message, joined."""
    if isinstance(content, str):
        return ""
    return "".join(part.text for part in content if isinstance(part, Thinking))
