"""`model.generate`: what is asked of a model and what it answers, in no provider's dialect.

Apart because three writers share it: the faces read a provider's dialect into a `Request`, the backends write it in the
dialect of what serves the model, and SDKs send it as it stands. msgspec structs with bounds, no pydantic: this is the hot
path. It must never hold a key, and never a field that only one provider understands: such a field would either be lost
between two of them or cost money that nobody reserved.

How a stream is asked for and answered:

    aion.syscalls.router   `await router.serve("model.generate", body, caller, dialect="openai")` gives a `Reply` (refused,
                           failed before the first piece, or not a stream) or a `router.Stream`.
    router.Stream          `async with stream: async for piece in stream`. A piece is `bytes`, whole SSE events of the
                           caller's own dialect exactly as the backend sent them, where the backend speaks the dialect
                           that the caller named; else it is a `Chunk`, for the face to write in its dialect.
                           `stream.relayed` says which, before the first piece. A failure on the way raises SyscallError.
                           Leaving the `async with` at any point lets go of the backend, settles, and records the call.
    POST /v1/syscall/…     with params.stream: `text/event-stream` of `event: chunk` (a `Chunk`) and at last `event: end`
                           with the whole answer of the contract, its `result` a `Generated`, or `event: error`.

`Gathering` makes the whole message out of chunks, for whoever must say it once more at the end.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from aion.api import errors

SYSCALL = "model.generate"

MAX_MESSAGES = 4096
MAX_PARTS = 1024
MAX_TOOLS = 256
MAX_TOKENS = 1 << 20  # more than any model says in one answer

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
Dialect = Literal["", "openai", "anthropic"]
"""A dialect whose stream a caller reads as the backend sent it; `` where it takes chunks alone."""

Name = Annotated[str, Meta(min_length=1, max_length=128)]


class Text(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Words."""

    text: str


class Image(msgspec.Struct, frozen=True, tag_field="type", tag="image"):
    """A picture: a `data:image/…;base64,…` URL, or one that the backend fetches: then the agent may fetch it, too."""

    url: Annotated[str, Meta(min_length=1)]


class Thinking(msgspec.Struct, frozen=True, tag_field="type", tag="thinking", omit_defaults=True):
    """What a model thought. Some want it back with their `signature`, or sealed (`redacted`), before a tool's result."""

    text: str = ""
    signature: str = ""
    redacted: str = ""


Part = Text | Image | Thinking


class ToolCall(msgspec.Struct, frozen=True):
    """A tool that the model wants called. `arguments` is JSON as the model wrote it: it may be broken."""

    id: str
    name: str
    arguments: str = "{}"


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One turn. `tool_calls` are an assistant's; `tool_call_id` and `failed` are of role `tool`, whose content is the result."""

    role: Role
    content: str | Annotated[tuple[Part, ...], Meta(max_length=MAX_PARTS)] = ""
    tool_calls: Annotated[tuple[ToolCall, ...], Meta(max_length=MAX_TOOLS)] = ()
    tool_call_id: str = ""
    failed: bool = False
    name: Annotated[str, Meta(max_length=128)] = ""

    @property
    def text(self) -> str:
        """The words of its content alone."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, Text))


class Tool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A tool that the model may want called, by the caller. `parameters` is a JSON schema."""

    name: Name
    description: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "object"})
    strict: bool | None = None


class NamedTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one tool that must be called."""

    name: Name


class Format(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The form of the answer: words, any JSON object, or JSON of a schema."""

    type: Literal["text", "json", "json_schema"] = "text"
    schema: dict[str, Any] | None = None
    name: Annotated[str, Meta(max_length=64)] = "answer"
    strict: bool | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The params of model.generate: `messages` or `prompt`, and how. What is not said is the backend's default.

    `model` is a name that policy routes. `max_tokens` is what budgets reserve; absent, the backend's own bound.
    `stream_usage` is of relayed streams alone: whether the caller's dialect wants the piece that says the usage.
    """

    model: Name
    messages: Annotated[tuple[Message, ...], Meta(max_length=MAX_MESSAGES)] = ()
    prompt: str | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=MAX_TOKENS)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=1, le=1 << 20)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: Annotated[tuple[str, ...], Meta(max_length=16)] = ()
    response_format: Format | None = None
    tools: Annotated[tuple[Tool, ...], Meta(max_length=MAX_TOOLS)] = ()
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    stream: bool = False
    stream_usage: bool = True

    @property
    def turns(self) -> tuple[Message, ...]:
        """The messages; a prompt is one of the user's."""
        return self.messages if self.prompt is None else (Message(role="user", content=self.prompt),)


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens. `cached` and `reasoning` are part of `tokens_in` and `tokens_out`, where the backend says so.

    `estimated`: the backend did not say, so the worst case (or, of a stream that broke off, what was seen) is counted.
    """

    tokens_in: int
    tokens_out: int
    cached: int = 0
    reasoning: int = 0
    estimated: bool = False


class Generated(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. `model` is what the backend calls what answered; `backend` is the chart's name of who did."""

    message: Message
    finish_reason: FinishReason
    model: str
    backend: str
    usage: Usage


class ToolDelta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of the call at `index`: id and name come once, `arguments` in fragments."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Chunk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a stream brings at a time. `finish_reason` comes once; `usage` at or after it, and perhaps not at all."""

    text: str = ""
    thinking: str = ""
    signature: str = ""
    redacted: str = ""
    tool_calls: tuple[ToolDelta, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


class Gathering:
    """Makes the whole of a stream out of its chunks."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._signature = self._redacted = ""
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        self.finish_reason: FinishReason | None = None
        self.usage: Usage | None = None

    def take(self, chunk: Chunk) -> None:
        """Add one."""
        if chunk.text:
            self._text.append(chunk.text)
        if chunk.thinking:
            self._thinking.append(chunk.thinking)
        self._signature += chunk.signature
        self._redacted += chunk.redacted
        for delta in chunk.tool_calls:
            known_id, name, fragments = self._calls.get(delta.index, ("", "", []))
            fragments.append(delta.arguments)
            self._calls[delta.index] = (known_id or delta.id, name or delta.name, fragments)
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self.usage = chunk.usage or self.usage

    def message(self) -> Message:
        """The assistant's turn as far as it came."""
        text = "".join(self._text)
        thought = "".join(self._thinking)
        content: str | tuple[Part, ...] = text
        if thought or self._signature or self._redacted:
            thinking = Thinking(text=thought, signature=self._signature, redacted=self._redacted)
            content = (thinking, Text(text)) if text else (thinking,)
        calls = tuple(
            ToolCall(call_id, name, "".join(fragments) or "{}")
            for _, (call_id, name, fragments) in sorted(self._calls.items())
        )
        return Message(role="assistant", content=content, tool_calls=calls)


_request = msgspec.json.Decoder(Request)


def read(params: msgspec.Raw | bytes) -> Request:
    """Read the params of model.generate; raises BadParams, whose details say where."""
    try:
        request = _request.decode(params)
    except msgspec.ValidationError as error:
        what, _, at = str(error).partition(" - at `$")
        path = at.rstrip("`").replace("[", "/").replace("]", "").replace(".", "/")
        raise _wrong(path, what) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise errors.BadParams(f"params cannot be read: {error}") from None
    if (request.prompt is None) == (not request.messages):
        raise _wrong("/messages", "expected either messages (at least one) or prompt, and not both")
    wanted = request.response_format
    if wanted is not None and wanted.type == "json_schema" and wanted.schema is None:
        raise _wrong("/response_format/schema", "a response_format of type json_schema needs a schema")
    if isinstance(request.tool_choice, NamedTool):
        chosen = request.tool_choice.name
        if all(tool.name != chosen for tool in request.tools):
            raise _wrong("/tool_choice/name", f"got {chosen!r}, which is none of tools")
    return request


def _wrong(path: str, what: str) -> errors.BadParams:
    said = f"params of {SYSCALL} at {path or '/'}: {what}"
    return errors.BadParams(said, details={"errors": [{"path": path, "message": what}]})
