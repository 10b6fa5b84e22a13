"""What the agent's preStop waits for: nothing new begins, and what is under way ends, before the agent hears SIGTERM.

Apart because it is the one thing that the Pod's address may change, and so the one that a neighbour on the network could try to abuse. It is
authenticated by the kubelet's own deed: a Pod's containers are told to stop at the same time, so the gateway's SIGTERM is there, or a moment
away, when the hook of the agent comes in. Without it nobody can park anything, and with it there is nothing left to spoil. It must never refuse
what saves: a syscall that keeps the agent's state goes through until the end.
"""

import asyncio
from collections.abc import Callable

from aion.api import errors
from aion.syscalls.call import Call

SIGNAL_S = 5.0
"""The kubelet stops both containers at once, each by a call of its own to the runtime: on a busy node the two are seconds apart."""

LOOK_S = 0.02
"""How often calls under way are counted, in the last seconds of a Pod: an event for each call would cost every syscall of its life."""

SAVING = frozenset({"agent.checkpoint", "agent.yield", "event.emit", "fs.write", "memory.put"})
"""Syscalls that keep what there is, and begin nothing."""


class Parking:
    """One Pod's last minute. `stopping` is set by SIGTERM; `under_way` counts the calls that have begun; `clock` is monotonic, in seconds."""

    def __init__(
        self, stopping: asyncio.Event, *, under_way: Callable[[], int], within_s: float, clock: Callable[[], float]
    ) -> None:
        self._stopping = stopping
        self._under_way = under_way
        self._within_s = within_s
        self._clock = clock
        self._until: float | None = None

    def verify(self, call: Call) -> None:
        """Refuse what would begin now; raises Preempted. A tool's nested call belongs to one that is under way."""
        if self._until is None or call.within is not None or call.name in SAVING:
            return
        raise errors.Preempted(
            f"this agent's Pod is being stopped, and {call.name} would begin something new: save what you have "
            f"({', '.join(sorted(SAVING))} are served until the end) and yield",
            rule="pod.stopping: what is under way ends, nothing new begins",
            details={"deadline_ms": round(max(0.0, self._until - self._clock()) * 1000)},
        )

    async def park(self) -> int | None:
        """Begin nothing new, wait for what is under way, and say how many calls are not done in time; None where nobody stops the Pod."""
        if not await self._told_to_stop():
            return None
        if self._until is None:
            self._until = self._clock() + self._within_s
        while (left := self._under_way()) and self._clock() < self._until:  # noqa: ASYNC110 - see LOOK_S
            await asyncio.sleep(LOOK_S)
        return left

    async def _told_to_stop(self) -> bool:
        try:
            async with asyncio.timeout(SIGNAL_S):
                return await self._stopping.wait()
        except TimeoutError:
            return False
