"""The decisions that every syscall meets, as objects with `verify(call) -> None | raises`.

Apart so that each can be read, tested and composed alone. A denial says which rule of which policy revision denied. A
policy must never await, change anything, or trust what the request says of itself: `caps_required` can only add to what
a call needs.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from aion.syscalls.call import Call
from aion.syscalls.handler import Handler

_MAX_CLAIM = 64
"""A caller may claim to need anything; so much of it stands in the answer's rule and in the record."""


class Policy(Protocol):
    """One decision."""

    def verify(self, call: Call) -> None:
        """Return where the call may go on; raises SyscallError where it may not."""


class AllOf:
    """Every policy in turn; the first to deny has the word."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = tuple(policies)

    def verify(self, call: Call) -> None:
        """Ask each."""
        for policy in self._policies:
            policy.verify(call)


class HoldsCapabilities:
    """The capability that the syscall needs, and those that the caller says it needs."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._needs = {name: handler.capability for name, handler in handlers.items() if handler.capability}

    def verify(self, call: Call) -> None:
        """Deny what needs a capability that is not held, by name of the agent or of the tool that lacks it."""
        needed = self._needs.get(call.name)
        if needed is not None and needed not in call.held:
            who = "agent" if needed not in call.rights.capabilities else f"tool {call.tool}"
            raise call.rights.lacks(needed, needed_by=call.name, who=who)
        for claimed in call.caps_required:
            if claimed not in call.held:
                raise call.rights.lacks(claimed[:_MAX_CLAIM], needed_by="the request's own caps_required")


class MayCall:
    """The agent's own list of syscalls.

    A tool's nested call is not on that list by nature: it is bounded by the capability it needs, which agent and Tool
    must both hold. Only a syscall that needs no capability falls back to the agent's list.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._by_capability = frozenset(name for name, handler in handlers.items() if handler.capability)

    def verify(self, call: Call) -> None:
        """Deny a syscall that the agent was not granted."""
        if call.within is not None and call.name in self._by_capability:
            return
        refusal = call.rights.refusals.get(call.name)
        if refusal is not None:
            raise refusal.error()
