"""Anthropic's `POST /v1/messages`, for agents that are written with its SDK. Pure.

Apart as one dialect of three. What cannot be promised is refused by name (documents, tools that Anthropic's own servers run);
fields that change nothing here (metadata, cache_control) and those that are not known are passed over. It must never drop
a thought that a model wants back with its signature.
"""

from typing import Any, Literal

import msgspec

from aion.api import errors, generation
from aion.api.generation import Generated, Image, Message, NamedTool, Part, Text, Thinking, Tool, ToolCall
from aion.dialects import generating
from aion.dialects.anthropic_stream import EventWriter, error_document, usage
from aion.dialects.generating import About, Said
from aion.dialects.streaming import Writer

STOP_REASONS: dict[generation.FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_EFFORTS: dict[str, Literal["low", "medium", "high", "xhigh"]] = {
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "xhigh",
}


class _Text(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class _Base64(msgspec.Struct, tag_field="type", tag="base64"):
    media_type: str
    data: str


class _Url(msgspec.Struct, tag_field="type", tag="url"):
    url: str


class _Image(msgspec.Struct, tag_field="type", tag="image"):
    source: _Base64 | _Url


class _Thinking(msgspec.Struct, tag_field="type", tag="thinking"):
    thinking: str
    signature: str = ""


class _Redacted(msgspec.Struct, tag_field="type", tag="redacted_thinking"):
    data: str


class _Use(msgspec.Struct, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any] = {}


class _Result(msgspec.Struct, tag_field="type", tag="tool_result"):
    tool_use_id: str
    content: str | list[_Text | _Image] | None = None
    is_error: bool | None = None


_Block = _Text | _Image | _Thinking | _Redacted | _Use | _Result


class _Turn(msgspec.Struct):
    role: Literal["user", "assistant"]
    content: str | list[_Block]


class _Tool(msgspec.Struct):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None


class _Choice(msgspec.Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Thinks(msgspec.Struct):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: int | None = None


class _Format(msgspec.Struct):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class _Output(msgspec.Struct):
    format: _Format | None = None
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None


class Question(msgspec.Struct):
    """The request."""

    model: str
    max_tokens: int
    messages: list[_Turn]
    system: str | list[_Text] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    thinking: _Thinks | None = None
    output_config: _Output | None = None
    stream: bool | None = None
    container: Any = None
    mcp_servers: list[Any] | None = None


_question = msgspec.json.Decoder(Question)


class Messages:
    """The dialect."""

    path = "/v1/messages"
    id_header = b"request-id"
    relays: generation.Dialect = "anthropic"

    def read(self, body: bytes) -> Question:
        """Read a request; raises BadParams."""
        asked = generating.read(_question, body)
        generating.cannot(
            {"container": asked.container, "mcp_servers": asked.mcp_servers},
            because="tools are called by the agent, through its own gateway",
        )
        return asked

    def asked(self, question: Question) -> generation.Request:
        """The question in no dialect."""
        system = question.system or ""
        turns = (
            [Message(role="system", content=system if isinstance(system, str) else _words(system))] if system else []
        )
        for at, turn in enumerate(question.messages):
            turns += _messages(turn, at)
        output, choice = question.output_config or _Output(), question.tool_choice
        return generation.Request(
            model=question.model,
            messages=tuple(turns),
            max_tokens=question.max_tokens,
            temperature=question.temperature,
            top_p=question.top_p,
            top_k=question.top_k,
            stop=tuple(question.stop_sequences or ()),
            tools=tuple(_tool(tool, at) for at, tool in enumerate(question.tools or ())),
            tool_choice=None if choice is None else _choice(choice),
            parallel_tool_calls=False if choice is not None and choice.disable_parallel_tool_use else None,
            response_format=None
            if output.format is None
            else generation.Format(type="json_schema", schema=output.format.schema),
            reasoning_effort=_effort(question.thinking, output),
            stream=bool(question.stream),
        )

    def whole(self, question: Question, made: Generated, about: About) -> dict[str, Any]:  # noqa: ARG002 - the protocol's
        """`message`."""
        return {
            "id": f"msg_{about.id}",
            "type": "message",
            "role": "assistant",
            "model": about.model,
            "content": _blocks(made.message),
            "stop_reason": STOP_REASONS[made.finish_reason],
            "stop_sequence": None,
            "usage": usage(made.usage),
        }

    def writer(self, question: Question, about: About) -> Writer:  # noqa: ARG002 - the protocol's
        """`message_start` to `message_stop`."""
        return EventWriter(about, stop_reasons=STOP_REASONS)

    def failure(self, error: errors.SyscallError, audit_id: str) -> Said:
        """`{"type": "error", …}`."""
        return Said(400 if error.http_status == 422 else error.http_status, error_document(error, audit_id))


def _effort(thinks: _Thinks | None, output: _Output) -> Literal["none", "low", "medium", "high", "xhigh"] | None:
    if output.effort is not None:
        return _EFFORTS[output.effort]
    return "none" if thinks is not None and thinks.type == "disabled" else None


def _choice(choice: _Choice) -> Literal["auto", "none", "required"] | NamedTool:
    match choice.type:
        case "any":
            return "required"
        case "tool":
            if not choice.name:
                raise generating.wrong("tool_choice.name", "which tool must be called?")
            return NamedTool(choice.name)
        case said:
            return said


def _tool(tool: _Tool, at: int) -> Tool:
    if tool.type not in (None, "custom") or tool.input_schema is None:
        raise generating.wrong(f"tools[{at}]", f"got type {tool.type!r}, expected a tool with an input_schema")
    return Tool(name=tool.name, description=tool.description or "", parameters=tool.input_schema, strict=tool.strict)


def _messages(turn: _Turn, at: int) -> list[Message]:
    """One turn, or the results in it and then the rest: here each result is a turn of its own."""
    if isinstance(turn.content, str):
        return [Message(role=turn.role, content=turn.content)]
    results: list[Message] = []
    parts: list[Part] = []
    calls: list[ToolCall] = []
    for n, block in enumerate(turn.content):
        match block:
            case _Result():
                results.append(_result(block))
            case _Use():
                calls.append(ToolCall(block.id, block.name, msgspec.json.encode(block.input).decode()))
            case _Text(text=text):
                parts.append(Text(text))
            case _Image():
                parts.append(_image(block))
            case _Thinking():
                parts.append(Thinking(block.thinking, signature=block.signature))
            case _Redacted():
                parts.append(Thinking(redacted=block.data))
        if isinstance(block, _Result if turn.role == "assistant" else _Use):
            raise generating.wrong(f"messages[{at}].content[{n}]", f"is not of role {turn.role}")
    rest = [Message(role=turn.role, content=tuple(parts), tool_calls=tuple(calls))] if parts or calls else []
    return [*results, *rest]


def _result(block: _Result) -> Message:
    content = block.content or ""
    return Message(
        role="tool",
        tool_call_id=block.tool_use_id,
        content=content
        if isinstance(content, str)
        else tuple(Text(each.text) if isinstance(each, _Text) else _image(each) for each in content),
        failed=bool(block.is_error),
    )


def _image(block: _Image) -> Image:
    source = block.source
    return Image(source.url if isinstance(source, _Url) else f"data:{source.media_type};base64,{source.data}")


def _words(blocks: list[_Text]) -> str:
    return "\n\n".join(block.text for block in blocks)


def _blocks(message: Message) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    content = (Text(message.content),) if isinstance(message.content, str) else message.content
    for part in content:
        match part:
            case Thinking():
                if part.text or part.signature:
                    made.append({"type": "thinking", "thinking": part.text, "signature": part.signature})
                if part.redacted:
                    made.append({"type": "redacted_thinking", "data": part.redacted})
            case Text(text=text) if text:
                made.append({"type": "text", "text": text})
    return made + [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call)} for call in message.tool_calls
    ]


def _input(call: ToolCall) -> dict[str, Any]:
    """The arguments as an object; what a model wrote that is none is kept where its reader sees it."""
    try:
        return msgspec.json.decode(call.arguments, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return {"_unreadable": call.arguments}
