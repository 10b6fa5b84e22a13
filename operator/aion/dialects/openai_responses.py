"""OpenAI's `POST /v1/responses`: what the OpenAI Agents SDK and agents of Codex's kind speak. Pure.

Apart as one dialect of three. Nothing is stored here, so what leans on the store is refused by name (previous_response_id,
conversation, background, `store: true`), and each answer says `store: false`; so are tools that OpenAI's own servers run.
Fields that change nothing here and those that are not known are passed over. It must never pretend to remember.
"""

from typing import Any, Literal

import msgspec

from aion.api import errors, generation
from aion.api.generation import Generated, Message, NamedTool, Part, Text, Thinking, Tool, ToolCall
from aion.dialects import generating, openai_errors, openai_items
from aion.dialects.generating import About, Said
from aion.dialects.openai_responses_stream import EventWriter
from aion.dialects.streaming import Writer


class _Words(msgspec.Struct, tag_field="type", tag="input_text"):
    text: str


class _Output(msgspec.Struct, tag_field="type", tag="output_text"):
    text: str


class _Refusal(msgspec.Struct, tag_field="type", tag="refusal"):
    refusal: str


class _Image(msgspec.Struct, tag_field="type", tag="input_image"):
    image_url: str | None = None


_Content = str | list[_Words | _Output | _Refusal | _Image]
Role = Literal["user", "assistant", "system", "developer"]


class _Turn(msgspec.Struct, tag_field="type", tag="message"):
    role: Role
    content: _Content


class _Called(msgspec.Struct, tag_field="type", tag="function_call"):
    call_id: str
    name: str
    arguments: str = "{}"


class _Result(msgspec.Struct, tag_field="type", tag="function_call_output"):
    call_id: str
    output: _Content


class _Summary(msgspec.Struct):
    text: str = ""


class _Reasoning(msgspec.Struct, tag_field="type", tag="reasoning"):
    summary: list[_Summary] = []


_Item = _Turn | _Called | _Result | _Reasoning


class _Tool(msgspec.Struct):
    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Choice(msgspec.Struct, tag_field="type", tag="function"):
    name: str


class _Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    name: str = "answer"
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class _Text(msgspec.Struct):
    format: _Format | None = None


class _Effort(msgspec.Struct):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None


class Question(msgspec.Struct):
    """The request. What is said again in the answer is kept as it came."""

    model: str
    input: str | list[msgspec.Raw]
    instructions: str | None = None
    tools: list[_Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | _Choice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    text: _Text | None = None
    reasoning: _Effort | None = None
    metadata: dict[str, str] | None = None
    stream: bool | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    prompt: Any = None
    top_logprobs: int | None = None


class _Untyped(msgspec.Struct):
    type: str | None = None


_question = msgspec.json.Decoder(Question)
_untyped = msgspec.json.Decoder(_Untyped)
_item: msgspec.json.Decoder[_Item] = msgspec.json.Decoder(_Item)


class _Easy(msgspec.Struct):
    role: Role
    content: _Content


_easy = msgspec.json.Decoder(_Easy)


class Responses:
    """The dialect."""

    path = "/v1/responses"
    id_header = b"x-request-id"
    relays: generation.Dialect = ""

    def read(self, body: bytes) -> Question:
        """Read a request; raises BadParams."""
        asked = generating.read(_question, body)
        generating.cannot(
            {
                "previous_response_id": asked.previous_response_id,
                "conversation": asked.conversation,
                "background": asked.background,
                "store": asked.store,
                "prompt": asked.prompt,
            },
            because="nothing is stored here; send the whole conversation as input",
        )
        generating.cannot({"top_logprobs": asked.top_logprobs}, because="no backend behind this face promises it")
        return asked

    def asked(self, question: Question) -> generation.Request:
        """The question in no dialect."""
        choice, wanted = question.tool_choice, question.text.format if question.text else None
        return generation.Request(
            model=question.model,
            messages=_messages(question),
            max_tokens=question.max_output_tokens,
            temperature=question.temperature,
            top_p=question.top_p,
            response_format=None if wanted is None else _format(wanted),
            tools=tuple(_tool(tool, at) for at, tool in enumerate(question.tools or ())),
            tool_choice=NamedTool(choice.name) if isinstance(choice, _Choice) else choice,
            parallel_tool_calls=question.parallel_tool_calls if question.tools else None,
            reasoning_effort=question.reasoning.effort if question.reasoning else None,
            stream=bool(question.stream),
        )

    def whole(self, question: Question, made: Generated, about: About) -> dict[str, Any]:
        """`response`."""
        output = openai_items.items(made.message, about.id)
        return openai_items.response(echoed(question), about, output=output, reason=made.finish_reason, used=made.usage)

    def writer(self, question: Question, about: About) -> Writer:
        """`response.created` to `response.completed`."""
        return EventWriter(echoed(question), about)

    def failure(self, error: errors.SyscallError, audit_id: str) -> Said:  # noqa: ARG002 - the protocol's
        """`{"error": …}`."""
        return openai_errors.failure(error)


def echoed(question: Question) -> dict[str, Any]:
    """What an answer says again of its question."""
    return {
        "instructions": question.instructions,
        "max_output_tokens": question.max_output_tokens,
        "metadata": question.metadata or {},
        "parallel_tool_calls": question.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": question.reasoning.effort if question.reasoning else None, "summary": None},
        "store": False,
        "temperature": question.temperature,
        "text": {"format": (question.text.format if question.text else None) or {"type": "text"}},
        "tool_choice": question.tool_choice or "auto",
        "tools": question.tools or [],
        "top_p": question.top_p,
        "truncation": "disabled",
    }


def _messages(question: Question) -> tuple[Message, ...]:
    """The conversation. A model's calls and words that follow each other are one turn of its."""
    made: list[Message] = []
    if question.instructions:
        made.append(Message(role="system", content=question.instructions))
    if isinstance(question.input, str):
        return (*made, Message(role="user", content=question.input))
    mine: list[Part] = []
    calls: list[ToolCall] = []

    def close() -> None:
        if mine or calls:
            made.append(Message(role="assistant", content=tuple(mine), tool_calls=tuple(calls)))
            mine.clear()
            calls.clear()

    for at, raw in enumerate(question.input):
        where = f"input[{at}]"
        match _read(raw, where):
            case _Turn(role="assistant", content=content):
                if calls:
                    close()
                mine += _parts(content, where)
            case _Turn(role=role, content=content):
                close()
                made.append(
                    Message(
                        role="user" if role == "user" else "system",
                        content=content if isinstance(content, str) else tuple(_parts(content, where)),
                    )
                )
            case _Called() as call:
                calls.append(ToolCall(call.call_id, call.name, call.arguments))
            case _Result(call_id=call_id, output=output):
                close()
                said = output if isinstance(output, str) else tuple(_parts(output, where))
                made.append(Message(role="tool", tool_call_id=call_id, content=said))
            case _Reasoning(summary=summary):
                if calls:
                    close()
                if thought := "".join(each.text for each in summary):
                    mine.append(Thinking(thought))
    close()
    return tuple(made)


def _read(raw: msgspec.Raw, where: str) -> _Item:
    """One item of the input; without a type it is a message."""
    try:
        if _untyped.decode(raw).type is None:
            easy = _easy.decode(raw)
            return _Turn(easy.role, easy.content)
        return _item.decode(raw)
    except msgspec.ValidationError as error:
        what, _, at = str(error).partition(" - at `$")
        raise generating.wrong(where + at.rstrip("`"), what) from None


def _parts(content: _Content, where: str) -> list[Part]:
    if isinstance(content, str):
        return [Text(content)] if content else []
    made: list[Part] = []
    for n, part in enumerate(content):
        match part:
            case _Words(text=text) | _Output(text=text) | _Refusal(refusal=text):
                made.append(Text(text))
            case _Image(image_url=url):
                if not url:
                    raise generating.wrong(f"{where}.content[{n}].image_url", "a picture is given by its URL")
                made.append(generation.Image(url))
    return made


def _tool(tool: _Tool, at: int) -> Tool:
    if tool.type != "function" or not tool.name:
        raise generating.wrong(
            f"tools[{at}].type",
            f"got {tool.type!r}, expected function: tools are called by the agent, not by a provider",
        )
    return Tool(
        name=tool.name,
        description=tool.description or "",
        parameters=tool.parameters or {"type": "object", "properties": {}},
        strict=tool.strict,
    )


def _format(wanted: _Format) -> generation.Format:
    if wanted.type == "json_schema":
        return generation.Format(type="json_schema", schema=wanted.schema, name=wanted.name, strict=wanted.strict)
    return generation.Format(type="json" if wanted.type == "json_object" else "text")
