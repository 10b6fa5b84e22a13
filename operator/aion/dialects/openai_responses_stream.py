"""Chunks as the Responses dialect's events: each item is added, grows and is done before the next, and the last event says all.

Apart because a stream is a small state machine beside the whole answer's document. It must never skip a number of the
sequence, nor end without one of completed, incomplete and failed.
"""

from typing import Any

import msgspec

from aion.api import errors
from aion.api.generation import Chunk, FinishReason, ToolCall, ToolDelta
from aion.dialects import generating, openai_items
from aion.dialects.generating import About
from aion.dialects.openai_items import Item
from aion.syscalls.stream import Stream

_encode = msgspec.json.Encoder().encode

_FAILURES = {429: "rate_limit_exceeded", 400: "invalid_prompt", 422: "invalid_prompt"}
"""OpenAI's codes of failed responses; whatever else goes wrong is a server_error."""


class EventWriter:
    """A streaming.Writer."""

    def __init__(self, echoed: dict[str, Any], about: About) -> None:
        self._echoed = echoed
        self._about = about
        self._number = -1
        self._output: list[Item] = []
        self._open: str | int | None = None
        """The item that grows: `thinking`, `text`, or the index of a tool's call; None between two."""
        self._ident = ""
        self._grown: list[str] = []
        self._call = ToolCall("", "", "")
        self._reason: FinishReason = "stop"

    def chunk(self, chunk: Chunk) -> bytes:
        """The events of one chunk, perhaps none."""
        said = self._start()
        if chunk.thinking:
            said += self._within_thinking()
            said += self._grow("response.reasoning_summary_text.delta", chunk.thinking, summary_index=0)
        if chunk.text:
            said += self._within_text()
            said += self._grow("response.output_text.delta", chunk.text, content_index=0, logprobs=[])
        for call in chunk.tool_calls:
            said += self._within_call(call)
            if call.arguments:
                said += self._grow("response.function_call_arguments.delta", call.arguments)
        self._reason = chunk.finish_reason or self._reason
        return said

    def end(self, stream: Stream) -> bytes:
        """Close what is open, and say the whole response."""
        said = self._start() + self._close()
        made = openai_items.response(
            self._echoed, self._about, output=self._output, reason=self._reason, used=stream.tokens
        )
        return said + self._event(f"response.{made['status']}", response=made)

    def failed(self, error: errors.SyscallError, stream: Stream) -> bytes:
        """`response.failed`."""
        code = _FAILURES.get(error.http_status, "server_error")
        told = {"code": code, "message": f"{error.code}: {generating.sentence(error)}"}
        made = openai_items.response(self._echoed, self._about, output=self._output, used=stream.tokens, error=told)
        return self._start() + self._event("response.failed", response=made)

    def _start(self) -> bytes:
        if self._number >= 0:
            return b""
        made = openai_items.response(self._echoed, self._about, output=[])
        return self._event("response.created", response=made) + self._event("response.in_progress", response=made)

    def _within_thinking(self) -> bytes:
        if self._open == "thinking":
            return b""
        said = self._add("thinking", openai_items.reasoning(self._next("rs"), ""))
        part = openai_items.summary("")
        return said + self._event("response.reasoning_summary_part.added", **self._at, summary_index=0, part=part)

    def _within_text(self) -> bytes:
        if self._open == "text":
            return b""
        said = self._add("text", openai_items.message_item(self._next("msg"), None, status="in_progress"))
        part = openai_items.text("")
        return said + self._event("response.content_part.added", **self._at, content_index=0, part=part)

    def _within_call(self, call: ToolDelta) -> bytes:
        if self._open == call.index:
            return b""
        closed = self._close()
        self._call = ToolCall(call.id, call.name, "")
        item = openai_items.function_call(self._next("fc"), self._call, status="in_progress")
        return closed + self._add(call.index, item)

    def _add(self, what: str | int, item: Item) -> bytes:
        said = self._close()
        self._open, self._ident, self._grown = what, item["id"], []
        return said + self._event("response.output_item.added", output_index=len(self._output), item=item)

    def _grow(self, kind: str, delta: str, **more: object) -> bytes:
        self._grown.append(delta)
        return self._event(kind, **self._at, **more, delta=delta)

    def _close(self) -> bytes:
        """The last events of the item that is open."""
        if self._open is None:
            return b""
        whole = "".join(self._grown)
        if self._open == "thinking":
            part, item = openai_items.summary(whole), openai_items.reasoning(self._ident, whole)
            said = self._event("response.reasoning_summary_text.done", **self._at, summary_index=0, text=whole)
            said += self._event("response.reasoning_summary_part.done", **self._at, summary_index=0, part=part)
        elif self._open == "text":
            part, item = openai_items.text(whole), openai_items.message_item(self._ident, whole)
            said = self._event("response.output_text.done", **self._at, content_index=0, text=whole, logprobs=[])
            said += self._event("response.content_part.done", **self._at, content_index=0, part=part)
        else:
            call = ToolCall(self._call.id, self._call.name, whole or "{}")
            item = openai_items.function_call(self._ident, call)
            said = self._event(
                "response.function_call_arguments.done", **self._at, name=call.name, arguments=call.arguments
            )
        said += self._event("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)
        self._open = None
        return said

    @property
    def _at(self) -> dict[str, Any]:
        return {"item_id": self._ident, "output_index": len(self._output)}

    def _next(self, kind: str) -> str:
        return f"{kind}_{self._about.id}_{len(self._output) + (self._open is not None)}"

    def _event(self, kind: str, **said: object) -> bytes:
        self._number += 1
        document = _encode({"type": kind, "sequence_number": self._number, **said})
        return b"event: " + kind.encode() + b"\ndata: " + document + b"\n\n"
