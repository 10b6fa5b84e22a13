"""Chunks as Anthropic's events: `message_start`, blocks that open, grow and close one after the other, `message_stop`.

Apart because a stream is a small state machine beside the whole answer's document. It must never leave a block open, nor
have two at once: clients add what comes to the last that was opened.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from aion.api import errors
from aion.api.generation import Chunk, FinishReason, ToolDelta, Usage
from aion.dialects import generating
from aion.dialects.generating import About
from aion.syscalls.stream import Stream

_encode = msgspec.json.Encoder().encode
_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def usage(used: Usage) -> dict[str, Any]:
    """`usage`. What came from a cache is not part of `input_tokens` here."""
    return {
        "input_tokens": used.tokens_in - used.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": used.cached,
        "output_tokens": used.tokens_out,
    }


def error_document(error: errors.SyscallError, audit_id: str) -> dict[str, Any]:
    """`{"type": "error", …}`. The message begins with the contract's code, for which this dialect has no other place."""
    status = error.http_status
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    where = generating.place(error)
    said = f"{error.code}: {generating.sentence(error)}"
    if where and where not in said:
        said += f" (at {where})"
    return {"type": "error", "error": {"type": kind, "message": said}, "request_id": audit_id or None}


class EventWriter:
    """A streaming.Writer."""

    def __init__(self, about: About, *, stop_reasons: Mapping[FinishReason, str]) -> None:
        self._about = about
        self._stop_reasons = stop_reasons
        self._begun = False
        self._at = -1
        self._open: str | int | None = None
        """The block that grows: `text`, `thinking`, or the index of a tool's call; None between two."""
        self._reason: FinishReason = "stop"

    def chunk(self, chunk: Chunk) -> bytes:
        """The events of one chunk, perhaps none."""
        said = self._start()
        if chunk.thinking or chunk.signature:
            said += self._within("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            if chunk.thinking:
                said += self._delta({"type": "thinking_delta", "thinking": chunk.thinking})
            if chunk.signature:
                said += self._delta({"type": "signature_delta", "signature": chunk.signature})
        if chunk.redacted:
            said += self._close()
            said += self._within("redacted", {"type": "redacted_thinking", "data": chunk.redacted}) + self._close()
        if chunk.text:
            said += self._within("text", {"type": "text", "text": ""})
            said += self._delta({"type": "text_delta", "text": chunk.text})
        for call in chunk.tool_calls:
            said += self._call(call)
        self._reason = chunk.finish_reason or self._reason
        return said

    def end(self, stream: Stream) -> bytes:
        """Close what is open, and say why it ended and what it took."""
        delta = {"stop_reason": self._stop_reasons[self._reason], "stop_sequence": None}
        return (
            self._start()
            + self._close()
            + _event({"type": "message_delta", "delta": delta, "usage": usage(stream.tokens)})
            + _event({"type": "message_stop"})
        )

    def failed(self, error: errors.SyscallError, stream: Stream) -> bytes:
        """`event: error`."""
        return _event(error_document(error, stream.audit_id))

    def _start(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        message: dict[str, Any] = {
            "id": f"msg_{self._about.id}",
            "type": "message",
            "role": "assistant",
            "model": self._about.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage(Usage(tokens_in=0, tokens_out=0)),
        }
        return _event({"type": "message_start", "message": message})

    def _call(self, call: ToolDelta) -> bytes:
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        said = self._within(call.index, block)
        if call.arguments:
            said += self._delta({"type": "input_json_delta", "partial_json": call.arguments})
        return said

    def _within(self, block: str | int, opened: dict[str, Any]) -> bytes:
        if self._open == block:
            return b""
        said = self._close()
        self._open = block
        self._at += 1
        return said + _event({"type": "content_block_start", "index": self._at, "content_block": opened})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event({"type": "content_block_delta", "index": self._at, "delta": delta})

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        return _event({"type": "content_block_stop", "index": self._at})


def _event(document: dict[str, Any]) -> bytes:
    kind: str = document["type"]
    return b"event: " + kind.encode() + b"\ndata: " + _encode(document) + b"\n\n"
