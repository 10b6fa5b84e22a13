"""Backends that speak Anthropic's messages. Pure.

Apart as one dialect of three. What this dialect cannot say is refused by name, not dropped: penalties, a seed, an answer
that is any JSON. It must never mark what is to be cached: writing into a cache costs more than the price that was reserved.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from aion.api import errors
from aion.api.generation import (
    Chunk,
    FinishReason,
    Image,
    Message,
    NamedTool,
    Part,
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

VERSION = "2023-06-01"
_CANNOT = ("presence_penalty", "frequency_penalty", "seed")
_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

Json = dict[str, Any]


class Anthropic:
    """The kind."""

    dialect = "anthropic"

    def ask(self, request: Request, *, backend: Backend, model: str, max_tokens: int) -> Ask:
        """`POST <url>/v1/messages`."""
        for name in _CANNOT:
            if getattr(request, name) is not None:
                raise _cannot(backend, name)
        body: Json = {"model": model, "max_tokens": max_tokens, "messages": _turns(request.turns)}
        if system := [turn.text for turn in request.turns if turn.role == "system"]:
            body["system"] = "\n\n".join(system)
        for name in ("temperature", "top_p", "top_k"):
            if (said := getattr(request, name)) is not None:
                body[name] = said
        if request.stop:
            body["stop_sequences"] = request.stop
        if output := _output(request, backend):
            body["output_config"] = output
        if request.tools:
            body["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
                for tool in request.tools
            ]
            if choice := _choice(request):
                body["tool_choice"] = choice
        if request.stream:
            body["stream"] = True
        path = "/messages" if backend.url.endswith("/v1") else "/v1/messages"
        return Ask(path, msgspec.json.encode(body), (("anthropic-version", VERSION),))

    def authorize(self, key: str) -> tuple[str, str]:
        """Its own header."""
        return "x-api-key", key

    def answer(self, body: bytes) -> Answer:
        """A whole message."""
        try:
            made = _message.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise unreadable(error) from None
        if made.type != "message":
            raise unreadable(f"it is of type {made.type[:40]!r}")
        parts: list[Part] = []
        calls: list[ToolCall] = []
        for block in made.content:
            match block.type:
                case "text":
                    parts.append(Text(block.text))
                case "thinking":
                    parts.append(Thinking(block.thinking, signature=block.signature))
                case "redacted_thinking":
                    parts.append(Thinking(redacted=block.data))
                case "tool_use":
                    calls.append(ToolCall(block.id, block.name, bytes(block.input).decode()))
        plain = all(isinstance(part, Text) for part in parts)
        content = "".join(part.text for part in parts if isinstance(part, Text)) if plain else tuple(parts)
        message = Message(role="assistant", content=content, tool_calls=tuple(calls))
        reason = _REASONS.get(made.stop_reason or "", "tool_calls" if calls else "stop")
        return Answer(message, reason, made.model, None if made.usage is None else made.usage.counted())

    def frames(self) -> frames.Events:
        """Server-sent events."""
        return frames.Events()

    def reader(self) -> Reader:
        """Of its many kinds of events."""
        return _Reader()


def _cannot(backend: Backend, name: str) -> errors.BadParams:
    said = f"backend {backend.name} speaks Anthropic's dialect, which has no {name}"
    return errors.BadParams(said, details={"errors": [{"path": f"/{name}", "message": said}]})


def _output(request: Request, backend: Backend) -> Json:
    output: Json = {}
    wanted = request.response_format
    if wanted is not None and wanted.type == "json":
        raise _cannot(backend, "response_format of type json: give a json_schema")
    if wanted is not None and wanted.type == "json_schema":
        output["format"] = {"type": "json_schema", "schema": wanted.schema}
    if request.reasoning_effort not in (None, "none", "minimal"):
        output["effort"] = request.reasoning_effort
    return output


def _choice(request: Request) -> Json:
    choice: Json = {}
    match request.tool_choice:
        case NamedTool(name=name):
            choice = {"type": "tool", "name": name}
        case "required":
            choice = {"type": "any"}
        case "auto" | "none" as said:
            choice = {"type": said}
    if request.parallel_tool_calls is False and choice.get("type") != "none":
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return choice


def _turns(turns: Sequence[Message]) -> list[Json]:
    """User and assistant by turns; a tool's result is said by the user, and results that belong together in one turn."""
    made: list[Json] = []
    for turn in turns:
        if turn.role == "system":
            continue
        role = "assistant" if turn.role == "assistant" else "user"
        blocks = _blocks(turn)
        if made and made[-1]["role"] == role:
            made[-1]["content"] += blocks
        elif blocks:
            made.append({"role": role, "content": blocks})
    return made


def _blocks(turn: Message) -> list[Json]:
    if turn.role == "tool":
        result: Json = {"type": "tool_result", "tool_use_id": turn.tool_call_id, "content": _content(turn)}
        return [{**result, "is_error": True} if turn.failed else result]
    blocks = _content(turn)
    for call in turn.tool_calls:
        try:
            arguments = msgspec.json.decode(call.arguments, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError) as error:
            said = f"the arguments of tool call {call.id[:80]!r} are no JSON object: {error}"
            raise errors.BadParams(said, details={"errors": [{"path": "/messages", "message": said}]}) from None
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": arguments})
    return blocks


def _content(turn: Message) -> list[Json]:
    if isinstance(turn.content, str):
        return [{"type": "text", "text": turn.content}] if turn.content else []
    return [block for part in turn.content if (block := _block(part)) is not None]


def _block(part: Part) -> Json | None:
    match part:
        case Text():
            return {"type": "text", "text": part.text} if part.text else None
        case Image():
            return {"type": "image", "source": _source(part.url)}
        case Thinking(redacted=sealed) if sealed:
            return {"type": "redacted_thinking", "data": sealed}
        case Thinking(signature=signature) if signature:
            return {"type": "thinking", "thinking": part.text, "signature": signature}
    return None  # thoughts without a signature are another backend's: this one would refuse them


def _source(url: str) -> Json:
    if not url.startswith("data:"):
        return {"type": "url", "url": url}
    kind, _, encoded = url.removeprefix("data:").partition(",")
    return {"type": "base64", "media_type": kind.removesuffix(";base64"), "data": encoded}


class _Usage(msgspec.Struct, frozen=True):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None

    @property
    def asked(self) -> int | None:
        if self.input_tokens is None:
            return None
        return self.input_tokens + (self.cache_creation_input_tokens or 0) + (self.cache_read_input_tokens or 0)

    def counted(self) -> Usage:
        return Usage(
            tokens_in=self.asked or 0, tokens_out=self.output_tokens or 0, cached=self.cache_read_input_tokens or 0
        )


class _Block(msgspec.Struct, frozen=True):
    type: str
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _Message(msgspec.Struct, frozen=True):
    type: str = ""
    content: list[_Block] = []
    model: str = ""
    stop_reason: str | None = None
    usage: _Usage | None = None


class _Delta(msgspec.Struct, frozen=True):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Event(msgspec.Struct, frozen=True):
    type: str
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None


_message = msgspec.json.Decoder(_Message)
_event = msgspec.json.Decoder(_Event)


class _Reader:
    def __init__(self) -> None:
        self.model = ""
        self.usage: Usage | None = None
        self.tokens_in: int | None = None
        self.finished = False
        self.bare_usage = False
        self._cached = 0
        self._tools: dict[int, int] = {}
        """By the block's index, which counts words too, the call's."""

    def read(self, event: bytes) -> Chunk | None:
        said = frames.data(event)
        if not said:
            return None
        try:
            read = _event.decode(said)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise unreadable(error) from None
        match read.type:
            case "message_start" if read.message is not None:
                self.model = read.message.model
                if read.message.usage is not None:
                    self.tokens_in = read.message.usage.asked
                    self._cached = read.message.usage.cache_read_input_tokens or 0
            case "content_block_start" if read.content_block is not None:
                return self._begins(read.index, read.content_block)
            case "content_block_delta" if read.delta is not None:
                return self._goes_on(read.index, read.delta)
            case "message_delta":
                return self._ends(read)
            case "message_stop":
                self.finished = True
            case "error":
                raise unreadable(words(said))
        return None

    def _begins(self, index: int, block: _Block) -> Chunk | None:
        if block.type == "tool_use":
            at = self._tools[index] = len(self._tools)
            return Chunk(tool_calls=(ToolDelta(index=at, id=block.id, name=block.name),))
        if block.type == "redacted_thinking":
            return Chunk(redacted=block.data)
        return Chunk(text=block.text) if block.text else None

    def _goes_on(self, index: int, delta: _Delta) -> Chunk | None:
        if delta.type == "input_json_delta" and index in self._tools:
            return Chunk(tool_calls=(ToolDelta(index=self._tools[index], arguments=delta.partial_json),))
        made = Chunk(text=delta.text, thinking=delta.thinking, signature=delta.signature)
        return None if made == Chunk() else made

    def _ends(self, read: _Event) -> Chunk | None:
        usage = read.usage
        if usage is not None and usage.output_tokens is not None:
            asked = usage.asked if usage.asked is not None else self.tokens_in
            if asked is not None:
                self.usage = Usage(tokens_in=asked, tokens_out=usage.output_tokens, cached=self._cached)
        reason = read.delta.stop_reason if read.delta is not None else None
        if reason is None:
            return Chunk(usage=self.usage) if self.usage is not None else None
        return Chunk(finish_reason=_REASONS.get(reason, "stop"), usage=self.usage)
