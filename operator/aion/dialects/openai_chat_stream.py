"""Chunks as `chat.completion.chunk` events: role first, pieces, the reason of the end, the usage where it was asked for.

Apart because a stream is a small state machine beside the whole answer's document. It must never say `[DONE]` after a
failure: clients take it for a good end.
"""

from typing import Any

import msgspec

from aion.api import errors
from aion.api.generation import Chunk, ToolDelta, Usage
from aion.dialects import openai_errors
from aion.dialects.generating import About
from aion.syscalls.stream import Stream

_encode = msgspec.json.Encoder().encode


def usage(used: Usage) -> dict[str, Any]:
    """`usage`, as both whole answers and streams say it."""
    return {
        "prompt_tokens": used.tokens_in,
        "completion_tokens": used.tokens_out,
        "total_tokens": used.tokens_in + used.tokens_out,
        "prompt_tokens_details": {"cached_tokens": used.cached},
        "completion_tokens_details": {"reasoning_tokens": used.reasoning},
    }


class ChunkWriter:
    """A streaming.Writer."""

    def __init__(self, about: About, *, with_usage: bool) -> None:
        self._head = {
            "id": f"chatcmpl-{about.id}",
            "object": "chat.completion.chunk",
            "created": about.created,
            "model": about.model,
        }
        self._with_usage = with_usage
        self._begun = False
        self._finished = False

    def chunk(self, chunk: Chunk) -> bytes:
        """One event, or none for a chunk that says nothing in this dialect."""
        delta: dict[str, Any] = {} if self._begun else {"role": "assistant", "content": ""}
        if chunk.text:
            delta["content"] = chunk.text
        if chunk.thinking:
            delta["reasoning_content"] = chunk.thinking
        if chunk.tool_calls:
            delta["tool_calls"] = [_call(each) for each in chunk.tool_calls]
        if not delta and chunk.finish_reason is None:
            return b""
        self._begun = True
        self._finished = self._finished or chunk.finish_reason is not None
        return self._event([_choice(delta, chunk.finish_reason)], None)

    def end(self, stream: Stream) -> bytes:
        """What is still missing of a whole stream, and `[DONE]`."""
        said = b"" if self._finished else self._event([_choice({}, "stop")], None)
        if self._with_usage:
            said += self._event([], usage(stream.tokens))
        return said + b"data: [DONE]\n\n"

    def failed(self, error: errors.SyscallError, stream: Stream) -> bytes:  # noqa: ARG002 - the protocol's
        """An event that is an error."""
        return _line({"error": openai_errors.document(error)})

    def _event(self, choices: list[dict[str, Any]], used: dict[str, Any] | None) -> bytes:
        made: dict[str, Any] = {**self._head, "choices": choices}
        if self._with_usage:
            made["usage"] = used
        return _line(made)


def _choice(delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}


def _call(delta: ToolDelta) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": delta.arguments}
    made: dict[str, Any] = {"index": delta.index, "function": function}
    if delta.name:
        function["name"] = delta.name
    if delta.id:
        made |= {"id": delta.id, "type": "function"}
    return made


def _line(document: dict[str, Any]) -> bytes:
    return b"data: " + _encode(document) + b"\n\n"
