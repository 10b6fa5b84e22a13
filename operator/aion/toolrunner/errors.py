"""What can go wrong in a call to a tool, each with the contract's code.

It stands apart so that engines speak of tools and not of HTTP. It must never carry what a tool said as anything but
text: a message is shown to people and agents.

    CallFailed            code, message, details
    +-- ToolFailed        E_UPSTREAM     crash, rubbish, non-zero exit; or the tool's own code
    +-- TooSlow           E_TIMEOUT
    +-- TooMuch           E_TOO_LARGE
    +-- BadCall           E_PARAMS       what the caller sent cannot be a call
    +-- Full              E_BUSY
    BadArtefact           the tool's file can never be run; the process says so and exits 65
"""

from __future__ import annotations

from typing import Any


class CallFailed(Exception):  # noqa: N818 - named as the contract speaks
    """One call's failure; the others in flight are not concerned."""

    code = "E_UPSTREAM"

    def __init__(self, message: str, *, code: str | None = None, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        if code is not None:
            self.code = code


class ToolFailed(CallFailed):
    """The tool crashed, answered rubbish, or answered an error of its own."""


class TooSlow(CallFailed):
    """The call's time was spent before the tool answered."""

    code = "E_TIMEOUT"


class TooMuch(CallFailed):
    """A document is larger than the contract allows."""

    code = "E_TOO_LARGE"


class BadCall(CallFailed):
    """The invocation itself cannot be a call."""

    code = "E_PARAMS"


class Full(CallFailed):
    """As many calls as the runner takes are in flight."""

    code = "E_BUSY"


class BadArtefact(Exception):  # noqa: N818
    """The tool's file can never be run: the message is a sentence for the Tool's condition."""
