"""The tools an agent sees over MCP, and which syscall each of them is. Pure.

Apart because it is the whole of what MCP means here. Every Tool of the grant whose capabilities the agent holds is a tool by
its own name, which is a `tool.invoke`; a syscall that a model can use well is one by the name `aion_<syscall>`, dots
turned to underscores, for model providers take no dot in a function's name. What is listed is what can be called: both
ask the same rights. It must never offer what a call would be denied, nor decide a call: that is the router's.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from aion.api import errors, syscall
from aion.api.grant import ToolGrant
from aion.syscalls.rights import Rights

PREFIX = "aion_"
"""Begins the names of syscalls. A Tool of such a name is reached by tool.invoke alone."""

TOOL = "tool.invoke"


class Offer(NamedTuple):
    """A syscall as a tool."""

    syscall: str
    capability: str | None
    description: str
    schema: Mapping[str, Any]


_TEXT = {"type": "string"}

OFFERS: Mapping[str, Offer] = {
    f"{PREFIX}net_fetch": Offer(
        "net.fetch",
        "network",
        "Fetch a URL over HTTP or HTTPS. Only hosts that policy allows are reached.",
        {
            "type": "object",
            "properties": {
                "url": {**_TEXT, "description": "http:// or https://"},
                "method": {"enum": ["GET", "HEAD", "POST"], "default": "GET"},
                "headers": {"type": "object", "additionalProperties": _TEXT},
                "body": {**_TEXT, "description": "with POST only"},
            },
            "required": ["url"],
            "additionalProperties": False,
        },
    ),
}


class Asked(NamedTuple):
    """The syscall of a tools/call."""

    syscall: str
    params: bytes


def listed(rights: Rights) -> list[dict[str, Any]]:
    """The tools of tools/list, by name: those whose call would not be denied for a capability, a list or a policy."""
    tools = []
    if TOOL not in rights.refusals:
        tools = [
            _tool(right.tool)
            for name, right in rights.tools.items()
            if right.needs <= rights.capabilities and not name.startswith(PREFIX)
        ]
    tools += [
        {"name": name, "description": offer.description, "inputSchema": offer.schema}
        for name, offer in OFFERS.items()
        if offer.syscall not in rights.refusals
        and (offer.capability is None or offer.capability in rights.capabilities)
    ]
    return sorted(tools, key=lambda tool: str(tool["name"]))


def asked(name: str, arguments: Mapping[str, msgspec.Raw]) -> Asked:
    """The syscall that a tool's call is; raises BadParams for an argument that it has no room for."""
    if name in OFFERS:
        return Asked(OFFERS[name].syscall, msgspec.json.encode(arguments))
    if "tool" in arguments:
        raise errors.BadParams(
            f"got an argument named `tool`, which tool.invoke keeps for the tool's own name: {name[:64]} cannot have it",
            details={"errors": [{"path": "/tool", "message": "is not a name of an argument"}]},
        )
    return Asked(TOOL, msgspec.json.encode({"tool": name, **arguments}))


def result(done: syscall.Ok) -> dict[str, Any]:
    """What tools/call answers for a syscall that was done.

    A result that is MCP content already (`{"content": […]}`, with or without `structuredContent`) goes out as it is, so
    that a Tool may answer pictures; any other is structured content, with its JSON as text for models.
    """
    made: dict[str, Any] = {"isError": False, "_meta": {"aion.os/auditId": done.audit_id}}
    rich = _rich(done.result)
    if rich is None:
        text = bytes(done.result).decode()
        return {"content": [{"type": "text", "text": text}], "structuredContent": done.result, **made}
    made["content"] = rich.content
    if rich.structured is not UNSET:
        made["structuredContent"] = rich.structured
    return made


def error(failed: syscall.Failed) -> dict[str, Any]:
    """What tools/call answers for one that was denied or failed: for the model to read, and for programs in `_meta`."""
    said = failed.error
    text = f"{said.code}: {said.message}" + (f" (rule: {said.rule})" if said.rule else "")
    return {
        "content": [{"type": "text", "text": text}],
        "isError": True,
        "_meta": {"aion.os/auditId": failed.audit_id, "aion.os/error": said},
    }


def _tool(tool: ToolGrant) -> dict[str, Any]:
    made: dict[str, Any] = {"name": tool.name, "inputSchema": _schema(tool.input_schema)}
    if tool.description:
        made["description"] = tool.description
    if tool.output_schema is not None:
        made["outputSchema"] = _schema(tool.output_schema)
    return made


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema as clients take it: of an object, which params and results are, and without `x-mcp-header`.

    That word makes clients copy an argument into a header; here nobody reads it, and what is in it would be in logs.
    """
    try:
        return {**_without_headers(schema), "type": "object"}
    except RecursionError:  # who calls it by such a schema is told by the schema's compiler
        return {"type": "object"}


_NAMES = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Words of JSON Schema whose keys are names that the author chose."""


def _without_headers(schema: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(schema, list):
        return [_without_headers(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        word: {name: _without_headers(each) for name, each in value.items()}
        if word in _NAMES and isinstance(value, dict)
        else _without_headers(value)
        for word, value in schema.items()
        if word != "x-mcp-header"
    }


class _Text(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class _Image(msgspec.Struct, tag_field="type", tag="image"):
    data: str
    mime_type: str = msgspec.field(name="mimeType")


class _Audio(msgspec.Struct, tag_field="type", tag="audio"):
    data: str
    mime_type: str = msgspec.field(name="mimeType")


class _Link(msgspec.Struct, tag_field="type", tag="resource_link"):
    uri: str
    name: str


class _Resource(msgspec.Struct, tag_field="type", tag="resource"):
    resource: dict[str, Any]


class _Checked(msgspec.Struct, forbid_unknown_fields=True):
    content: list[_Text | _Image | _Audio | _Link | _Resource]
    structured: dict[str, msgspec.Raw] | msgspec.UnsetType = msgspec.field(default=UNSET, name="structuredContent")


class _Rich(msgspec.Struct):
    content: msgspec.Raw
    structured: msgspec.Raw | msgspec.UnsetType = msgspec.field(default=UNSET, name="structuredContent")


_checked = msgspec.json.Decoder(_Checked)
_kept = msgspec.json.Decoder(_Rich)


def _rich(result: msgspec.Raw) -> _Rich | None:
    """A result that is MCP content, every block of it; None where it is anything else."""
    try:
        _checked.decode(result)
    except msgspec.ValidationError:
        return None
    return _kept.decode(result)
