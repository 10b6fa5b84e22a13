"""Backends that speak Ollama's own chat. Pure.

Apart as one dialect of three. Its streams are lines of JSON, which no caller reads as they come, so they are always read
into chunks. Its calls of tools have no ids and are made ones by their place; which tool must be called cannot be said to
it, and is refused. It must never let a model load with another context than its server chose: that costs a minute.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from aion.api import errors
from aion.api.generation import (
    Chunk,
    FinishReason,
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
from aion.syscalls.models.kinds import Answer, Ask, Count, Reader, unreadable

_OPTIONS = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed")

Json = dict[str, Any]


class Ollama:
    """The kind."""

    dialect = ""

    def ask(self, request: Request, *, backend: Backend, model: str, max_tokens: int) -> Ask:
        """`POST <url>/api/chat`."""
        options: Json = {"num_predict": max_tokens}
        options |= {name: said for name in _OPTIONS if (said := getattr(request, name)) is not None}
        if request.stop:
            options["stop"] = request.stop
        names = {call.id: call.name for turn in request.turns for call in turn.tool_calls}
        body: Json = {
            "model": model,
            "messages": [_turn(each, names=names) for each in request.turns],
            "stream": request.stream,
            "options": options,
        }
        if isinstance(request.tool_choice, NamedTool) or request.tool_choice == "required":
            said = f"backend {backend.name} is an Ollama, which cannot be told to call a tool: leave tool_choice out"
            raise errors.BadParams(said, details={"errors": [{"path": "/tool_choice", "message": said}]})
        if request.tools and request.tool_choice != "none":
            body["tools"] = [{"type": "function", "function": each} for each in request.tools]
        wanted = request.response_format
        if wanted is not None and wanted.type != "text":
            body["format"] = "json" if wanted.type == "json" else wanted.schema
        if request.reasoning_effort is not None:
            body["think"] = request.reasoning_effort not in ("none", "minimal")
        return Ask("/api/chat", msgspec.json.encode(body))

    def authorize(self, key: str) -> tuple[str, str]:
        """A bearer token, as the proxies before it want one."""
        return "Authorization", f"Bearer {key}"

    def answer(self, body: bytes) -> Answer:
        """A whole answer."""
        said = _read(body)
        calls = tuple(
            ToolCall(f"call_{at}", each.function.name, bytes(each.function.arguments).decode())
            for at, each in enumerate(said.message.tool_calls or ())
        )
        content: str | tuple[Thinking | Text, ...] = said.message.content
        if said.message.thinking:
            thought = Thinking(said.message.thinking)
            content = (thought, Text(said.message.content)) if said.message.content else (thought,)
        message = Message(role="assistant", content=content, tool_calls=calls)
        return Answer(message, _reason(said.done_reason, calls=bool(calls)), said.model, _usage(said))

    def frames(self) -> frames.Lines:
        """Lines of JSON."""
        return frames.Lines()

    def reader(self) -> Reader:
        """Of lines."""
        return _Reader()


def _turn(turn: Message, *, names: Mapping[str, str]) -> Json:
    made: Json = {"role": turn.role, "content": turn.text}
    if not isinstance(turn.content, str):
        if pictures := [_picture(part.url) for part in turn.content if isinstance(part, Image)]:
            made["images"] = pictures
        if thoughts := "".join(part.text for part in turn.content if isinstance(part, Thinking)):
            made["thinking"] = thoughts
    if turn.tool_calls:
        made["tool_calls"] = [
            {"function": {"name": each.name, "arguments": _arguments(each)}} for each in turn.tool_calls
        ]
    if turn.role == "tool" and (name := names.get(turn.tool_call_id)):
        made["tool_name"] = name
    return made


def _arguments(call: ToolCall) -> Json:
    try:
        return msgspec.json.decode(call.arguments, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        said = f"the arguments of tool call {call.id[:80]!r} are no JSON object: {error}"
        raise errors.BadParams(said, details={"errors": [{"path": "/messages", "message": said}]}) from None


def _picture(url: str) -> str:
    kind, comma, encoded = url.partition(",")
    if not (comma and kind.startswith("data:") and kind.endswith(";base64")):
        said = "an Ollama takes pictures as data:…;base64 URLs alone"
        raise errors.BadParams(said, details={"errors": [{"path": "/messages", "message": said}]})
    return encoded


class _Function(msgspec.Struct, frozen=True):
    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class _Call(msgspec.Struct, frozen=True):
    function: _Function = _Function()


class _Said(msgspec.Struct, frozen=True):
    content: str = ""
    thinking: str = ""
    tool_calls: list[_Call] | None = None


class _Answer(msgspec.Struct, frozen=True):
    model: str = ""
    message: _Said = _Said()
    done: bool = False
    done_reason: str = ""
    prompt_eval_count: Count | None = None
    eval_count: Count | None = None
    error: str = ""


_answer = msgspec.json.Decoder(_Answer)


def _read(body: bytes) -> _Answer:
    try:
        said = _answer.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise unreadable(error) from None
    if said.error:
        raise unreadable(said.error)
    return said


def _usage(said: _Answer) -> Usage | None:
    """What it counted; a question that lay in its cache whole is not counted, and then nothing is taken from it."""
    if said.prompt_eval_count is None or said.eval_count is None:
        return None
    return Usage(tokens_in=said.prompt_eval_count, tokens_out=said.eval_count)


def _reason(said: str, *, calls: bool) -> FinishReason:
    if calls:
        return "tool_calls"
    return "length" if said == "length" else "stop"


class _Reader:
    def __init__(self) -> None:
        self.model = ""
        self.usage: Usage | None = None
        self.tokens_in: int | None = None
        self.finished = False
        self.bare_usage = False
        self._calls = 0

    def read(self, event: bytes) -> Chunk | None:
        if not event.strip():
            return None
        said = _read(event)
        self.model = self.model or said.model
        calls = []
        for each in said.message.tool_calls or ():
            name, arguments = each.function.name, bytes(each.function.arguments).decode()
            calls.append(ToolDelta(index=self._calls, id=f"call_{self._calls}", name=name, arguments=arguments))
            self._calls += 1
        if said.done:
            self.finished, self.usage = True, _usage(said)
        made = Chunk(
            text=said.message.content,
            thinking=said.message.thinking,
            tool_calls=tuple(calls),
            finish_reason=_reason(said.done_reason, calls=bool(self._calls)) if said.done else None,
            usage=self.usage,
        )
        return None if made == Chunk() else made
