"""MCP as a client reads it: which tool of a server ours is, and what its answer comes to. Pure.

Apart because a server at the end of a pipe and one at the end of an HTTP connection say the same things. It must never let a
server's answer through that is not what the protocol says a result is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aion.toolrunner import errors
from aion.toolrunner.engine import Document

MAX_TEXT = 2000


def chosen(name: str, offered: Sequence[str]) -> str:
    """The server's tool that a Tool of this name is: its namesake, or the only one there is; raises BadArtefact."""
    if name in offered:
        return name
    if len(offered) == 1:
        return offered[0]
    known = ", ".join(sorted(offered)[:20]) or "none"
    raise errors.BadArtefact(f"the MCP server offers the tools {known}: spec.toolName must be one of them, got {name}")


def names(listed: Any) -> list[str]:  # noqa: ANN401 - whatever a server sent
    """The names in a result of tools/list; raises ToolFailed."""
    tools = listed.get("tools") if isinstance(listed, dict) else None
    if not isinstance(tools, list):
        raise errors.ToolFailed("the MCP server answered tools/list with no list")
    return [tool["name"] for tool in tools if isinstance(tool, dict) and isinstance(tool.get("name"), str)]


def result(answered: Any) -> Document:  # noqa: ANN401 - whatever a server sent
    """What a result of tools/call comes to: its `content`, and `structuredContent` where it has any; raises ToolFailed."""
    if not isinstance(answered, dict) or not isinstance(content := answered.get("content"), list):
        raise errors.ToolFailed(_strange(answered))
    if answered.get("isError") is True:
        raise errors.ToolFailed(_text(content) or "the MCP tool failed without a reason")
    made: Document = {"content": content}
    if isinstance(structured := answered.get("structuredContent"), dict):
        made["structuredContent"] = structured
    return made


def failed(error: Any) -> errors.CallFailed:  # noqa: ANN401 - whatever a server sent
    """What an error of the protocol comes to."""
    if not isinstance(error, dict):
        return errors.ToolFailed("the MCP server answered neither a result nor an error")
    said = f"the MCP server answers {error.get('code')}: {error.get('message')}"
    return errors.ToolFailed(said[:MAX_TEXT])


def _strange(answered: object) -> str:
    if isinstance(answered, dict) and answered.get("resultType") == "input_required":
        return "the MCP tool asks a person for input, and nobody can be asked here"
    return "the MCP server answered tools/call with no content"


def _text(content: list[Any]) -> str:
    texts = [each["text"] for each in content if isinstance(each, dict) and isinstance(each.get("text"), str)]
    return "\n".join(texts)[:MAX_TEXT]
