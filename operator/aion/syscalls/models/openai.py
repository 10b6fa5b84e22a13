"""Backends that speak OpenAI's chat completions: OpenAI itself, vLLM, llama.cpp, TGI, and most others. Pure.

Apart as one dialect of three. Streams are always asked for their usage, without which they would count at the worst. It
must never ask for more than one choice: a second one costs and nobody reserved it.
"""

from typing import Any
from urllib.parse import urlsplit

import msgspec

from aion.api.generation import (
    Chunk,
    FinishReason,
    Format,
    Image,
    Message,
    NamedTool,
    Request,
    Text,
    Thinking,
    ToolCall,
    ToolDelta,
    Usage,
)
from aion.api.grant import Backend
from aion.syscalls.models import frames
from aion.syscalls.models.kinds import Answer, Ask, Count, Reader, unreadable, words

_PLAIN = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed", "reasoning_effort")
_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}

Json = dict[str, Any]


class OpenAI:
    """The kind."""

    dialect = "openai"

    def ask(self, request: Request, *, backend: Backend, model: str, max_tokens: int) -> Ask:
        """`POST <url>/chat/completions`."""
        body: Json = {"model": model, "messages": [_turn(each) for each in request.turns]}
        # OpenAI's newer models refuse max_tokens, and many compatible servers know nothing else.
        host = urlsplit(backend.url).hostname or ""
        body["max_completion_tokens" if host.endswith(("openai.com", "azure.com")) else "max_tokens"] = max_tokens
        body |= {name: said for name in _PLAIN if (said := getattr(request, name)) is not None}
        if request.stop:
            body["stop"] = request.stop
        if request.response_format is not None and request.response_format.type != "text":
            body["response_format"] = _format(request.response_format)
        if request.tools:
            body["tools"] = [{"type": "function", "function": each} for each in request.tools]
            if request.parallel_tool_calls is not None:
                body["parallel_tool_calls"] = request.parallel_tool_calls
            if isinstance(request.tool_choice, NamedTool):
                body["tool_choice"] = {"type": "function", "function": {"name": request.tool_choice.name}}
            elif request.tool_choice is not None:
                body["tool_choice"] = request.tool_choice
        if request.stream:
            body["stream"], body["stream_options"] = True, {"include_usage": True}
        return Ask("/chat/completions", msgspec.json.encode(body))

    def authorize(self, key: str) -> tuple[str, str]:
        """A bearer token."""
        return "Authorization", f"Bearer {key}"

    def answer(self, body: bytes) -> Answer:
        """A whole completion."""
        try:
            made = _completion.decode(body)
            choice = made.choices[0]
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise unreadable(error) from None
        except IndexError:
            raise unreadable("it has no choices") from None
        said = choice.message
        calls = tuple(
            ToolCall(each.id or f"call_{at}", each.function.name or "", each.function.arguments or "{}")
            for at, each in enumerate(said.tool_calls or ())
            if each.function is not None
        )
        thought, text = said.reasoning_content or said.reasoning or "", said.content or said.refusal or ""
        content: str | tuple[Thinking | Text, ...] = text
        if thought:
            content = (Thinking(thought), Text(text)) if text else (Thinking(thought),)
        message = Message(role="assistant", content=content, tool_calls=calls)
        return Answer(message, _reason(choice.finish_reason, calls=bool(calls)), made.model, _usage(made.usage))

    def frames(self) -> frames.Events:
        """Server-sent events."""
        return frames.Events()

    def reader(self) -> Reader:
        """Of chunks."""
        return _Reader()


def _turn(turn: Message) -> Json:
    made: Json = {"role": turn.role}
    if turn.name:
        made["name"] = turn.name
    if isinstance(turn.content, str):
        made["content"] = turn.content
    elif turn.role in ("assistant", "tool"):
        made["content"] = turn.text  # these two take words only
    else:
        made["content"] = [part for each in turn.content if (part := _part(each)) is not None]
    if turn.tool_calls:
        made["content"] = made["content"] or None
        made["tool_calls"] = [
            {"id": each.id, "type": "function", "function": {"name": each.name, "arguments": each.arguments}}
            for each in turn.tool_calls
        ]
    if turn.role == "tool":
        made["tool_call_id"] = turn.tool_call_id
    return made


def _part(part: Text | Image | Thinking) -> Json | None:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Image():
            return {"type": "image_url", "image_url": {"url": part.url}}
        case _:
            return None


def _format(wanted: Format) -> Json:
    if wanted.type == "json":
        return {"type": "json_object"}
    schema: Json = {"name": wanted.name, "schema": wanted.schema}
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    return {"type": "json_schema", "json_schema": schema}


class _Details(msgspec.Struct, frozen=True):
    cached_tokens: Count | None = None
    reasoning_tokens: Count | None = None


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct, frozen=True):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Said(msgspec.Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct, frozen=True):
    message: _Said = _Said()
    delta: _Said | None = None
    finish_reason: str | None = None


class _Completion(msgspec.Struct, frozen=True):
    choices: list[_Choice] = []
    model: str = ""
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


_completion = msgspec.json.Decoder(_Completion)


def _usage(said: _Usage | None) -> Usage | None:
    if said is None or (not said.prompt_tokens and not said.completion_tokens):
        return None
    cached, reasoned = said.prompt_tokens_details, said.completion_tokens_details
    return Usage(
        tokens_in=said.prompt_tokens,
        tokens_out=said.completion_tokens,
        cached=(cached.cached_tokens or 0) if cached else 0,
        reasoning=(reasoned.reasoning_tokens or 0) if reasoned else 0,
    )


def _reason(said: str | None, *, calls: bool) -> FinishReason:
    return _REASONS.get(said or "", "tool_calls" if calls else "stop")


class _Reader:
    def __init__(self) -> None:
        self.model = ""
        self.usage: Usage | None = None
        self.tokens_in: int | None = None
        self.finished = self.bare_usage = False

    def read(self, event: bytes) -> Chunk | None:
        self.bare_usage = False
        said = frames.data(event)
        if not said:
            return None
        if said == b"[DONE]":
            self.finished = True
            return None
        try:
            chunk = _completion.decode(said)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise unreadable(error) from None
        if bytes(chunk.error) != b"null":
            raise unreadable(words(said))
        self.model = self.model or chunk.model
        usage = _usage(chunk.usage)
        if usage is not None:
            self.usage = usage
        if not chunk.choices:
            self.bare_usage = usage is not None
            return Chunk(usage=usage) if usage is not None else None
        choice = chunk.choices[0]
        delta = choice.delta or choice.message
        calls = tuple(_delta(each) for each in delta.tool_calls or ())
        reason = None if choice.finish_reason is None else _reason(choice.finish_reason, calls=bool(calls))
        self.finished = self.finished or reason is not None
        return Chunk(
            text=delta.content or delta.refusal or "",
            thinking=delta.reasoning_content or delta.reasoning or "",
            tool_calls=calls,
            finish_reason=reason,
            usage=usage,
        )


def _delta(call: _Call) -> ToolDelta:
    function = call.function or _Function()
    return ToolDelta(index=call.index, id=call.id or "", name=function.name or "", arguments=function.arguments or "")
