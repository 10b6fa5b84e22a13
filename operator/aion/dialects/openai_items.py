"""The documents of the Responses dialect: a response, and the items it is made of. Pure.

Apart because whole answers and streams say the same documents, a stream at its end what a whole answer says at once. It must
never give two items of one response the same id.
"""

from typing import Any

from aion.api.generation import FinishReason, Message, Text, Thinking, ToolCall, Usage
from aion.dialects.generating import About

Item = dict[str, Any]

_INCOMPLETE: dict[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}


def response(
    echoed: dict[str, Any],
    about: About,
    *,
    output: list[Item],
    reason: FinishReason | None = None,
    used: Usage | None = None,
    error: dict[str, str] | None = None,
) -> dict[str, Any]:
    """A response: in progress without a reason, failed with an error."""
    incomplete = _INCOMPLETE.get(reason) if reason else None
    status = "in_progress" if reason is None else "incomplete" if incomplete else "completed"
    return {
        "id": f"resp_{about.id}",
        "object": "response",
        "created_at": about.created,
        "status": "failed" if error else status,
        "error": error,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "model": about.model,
        "output": output,
        "usage": None if used is None else usage(used),
        **echoed,
    }


def usage(used: Usage) -> dict[str, Any]:
    """`usage`."""
    return {
        "input_tokens": used.tokens_in,
        "input_tokens_details": {"cached_tokens": used.cached},
        "output_tokens": used.tokens_out,
        "output_tokens_details": {"reasoning_tokens": used.reasoning},
        "total_tokens": used.tokens_in + used.tokens_out,
    }


def items(message: Message, of: str) -> list[Item]:
    """The output items of a whole message, in the order a stream would bring them."""
    content = (Text(message.content),) if isinstance(message.content, str) else message.content
    thought = "".join(part.text for part in content if isinstance(part, Thinking))
    words = "".join(part.text for part in content if isinstance(part, Text))
    made: list[Item] = []
    if thought:
        made.append(reasoning(f"rs_{of}_{len(made)}", thought))
    if words:
        made.append(message_item(f"msg_{of}_{len(made)}", words))
    for call in message.tool_calls:
        made.append(function_call(f"fc_{of}_{len(made)}", call))
    return made


def reasoning(ident: str, thought: str) -> Item:
    """What the model thought, as its summary."""
    return {"id": ident, "type": "reasoning", "summary": [summary(thought)] if thought else []}


def summary(thought: str) -> Item:
    """A part of a reasoning item."""
    return {"type": "summary_text", "text": thought}


def message_item(ident: str, words: str | None, *, status: str = "completed") -> Item:
    """What the model said; None while nothing was."""
    content = [] if words is None else [text(words)]
    return {"id": ident, "type": "message", "status": status, "role": "assistant", "content": content}


def text(words: str) -> Item:
    """A part of a message item."""
    return {"type": "output_text", "text": words, "annotations": [], "logprobs": []}


def function_call(ident: str, call: ToolCall, *, status: str = "completed") -> Item:
    """A tool that the model wants called."""
    return {
        "id": ident,
        "type": "function_call",
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }
