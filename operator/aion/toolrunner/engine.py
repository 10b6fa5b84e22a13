"""What every engine offers, and how a tool's document is read: the one protocol between calls and tools.

It stands apart so that the WebSocket side knows nothing of wasm or processes, and an engine nothing of frames.
It must never trust a document: size and shape are checked here for every engine alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from aion.toolrunner import errors

MAX_RESULT = 1 << 20
MAX_PARAMS = 256 << 10

Document = dict[str, Any]
Syscall = Callable[[str, Document], Awaitable[Document]]
"""A nested syscall: name and params to its answer `{"status": …}`; ends with the call's deadline."""


@dataclass(frozen=True)
class Invocation:
    """One call: what the tool is given, and how long it may take."""

    params: Mapping[str, Any]
    config: Mapping[str, str]
    timeout_ms: int

    def document(self) -> bytes:
        """Write the one document that goes in."""
        return orjson.dumps({"params": self.params, "config": self.config})


class Engine(Protocol):
    """Runs one kind of tool."""

    async def load(self) -> None:
        """Wait until calls can be served; raises BadArtefact where they never can."""

    async def call(self, invocation: Invocation, syscall: Syscall) -> Document:
        """Run the tool once and return its result; raises CallFailed. Cancelling it ends the tool."""

    async def close(self) -> None:
        """Give back what `load` took."""


def result_of(output: bytes, *, details: Document | None = None) -> Document:
    """Read what a tool answered; raises what it failed with."""
    if len(output) > MAX_RESULT:
        raise errors.TooMuch(f"the tool's answer is larger than {MAX_RESULT} bytes", details=details)
    try:
        document = orjson.loads(output)
    except orjson.JSONDecodeError as bad:
        shown = output[:80].decode("utf-8", "replace")
        raise errors.ToolFailed(
            f"the tool's answer is not one JSON document ({bad}): it begins with {shown!r}", details=details
        ) from None
    if isinstance(document, dict) and isinstance(failure := document.get("error"), dict):
        code = failure.get("code")
        raise errors.ToolFailed(
            str(failure.get("message", "the tool failed without a reason"))[:2000],
            code=code if isinstance(code, str) and code.startswith("E_") else None,
            details=details,
        )
    if not isinstance(document, dict) or not isinstance(result := document.get("result"), dict):
        raise errors.ToolFailed(
            'the tool\'s answer has neither an object "result" nor an object "error"', details=details
        )
    return result
