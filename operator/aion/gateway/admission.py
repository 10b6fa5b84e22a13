"""When the agent's process may begin, and whether it lives: its launcher's request, held open for life.

Apart because start and stop both hang on it. `aion-launch --await` asks GET /v1/admit before it becomes the agent and
keeps the connection through exec: the answer begins when there is a grant and ends when one of the two processes does.
So the gateway knows without a process namespace in common that the agent is there (the Pod is ready) and that it is
gone (the gateway may stop). It must never admit before a grant is there: an agent that starts into refusals is a crash
loop with a wrong reason.
"""

import asyncio

from aion.gateway.door import Door

ADMIT_S = 8.0
"""The launcher gives one attempt 10 s; then it asks again."""

READY_S = 4.0
"""The kubelet asks with a time-out of 5 s: a question that waits here sees readiness the moment it is there."""


class Admission:
    """The agent's life, as its connections tell."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._alive = 0
        self.present = asyncio.Event()
        """Set while an admitted process lives."""
        self.gone = asyncio.Event()
        """Set while none does."""
        self.gone.set()
        self.stopping = asyncio.Event()
        """Set by SIGTERM: nobody is admitted any more."""
        self.stopped = asyncio.Event()
        """Set when the gateway waits no longer: held connections end."""

    async def may_begin(self) -> bool:
        """Wait for a grant, for as long as a launcher does."""
        return await _within(ADMIT_S, self._door.granted)

    async def ready(self) -> bool:
        """Wait until an admitted agent lives under a grant, for as long as a probe does."""
        return await _within(READY_S, self._door.granted) and await _within(READY_S, self.present)

    def begins(self) -> None:
        """A process was admitted."""
        self._alive += 1
        self.present.set()
        self.gone.clear()

    def ends(self) -> None:
        """Its connection broke: it is gone."""
        self._alive -= 1
        if not self._alive:
            self.present.clear()
            self.gone.set()

    def why_not(self) -> str:
        """Why the Pod is not ready, for a person who reads its events."""
        if not self._door.granted.is_set():
            return "the kernel has not granted this agent anything yet: see this container's log"
        return "the agent's process has not been admitted: see the log of container agent"


async def _within(seconds: float, event: asyncio.Event) -> bool:
    if event.is_set():
        return True
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
