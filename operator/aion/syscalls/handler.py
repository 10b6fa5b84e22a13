"""What a syscall's module gives to the router.

Apart because router and policies read handlers and handlers read calls. `admit` is where a handler says no: it runs
before the budget is touched and must never await. What it returns does the work, and may. Its result is JSON, or
`stream.Pieces` for a call that `streams`: then seat, budget and record stay open until the stream has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from aion.syscalls.call import Call, Work


class Handler(Protocol):
    """One syscall."""

    @property
    def name(self) -> str:
        """The name in the path, e.g. `tool.invoke`."""

    @property
    def capability(self) -> str | None:
        """The capability without which nobody may make this syscall; None where the syscall's name is enough."""

    def worst_case(self, call: Call) -> int:
        """What an admitted call may cost at most, in micro-USD."""

    def admit(self, call: Call) -> Work:
        """Read and judge the params, note subject, engine and idempotency on the call; raises SyscallError."""
