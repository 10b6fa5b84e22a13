"""Whether this replica is on its way out: asked by readiness, by channels, and by whoever serves.

It stands apart because leaving has an order that no single part knows: first others stop sending (readiness), and callers are
told with each answer to come by another connection; gateways are sent to another replica, not all in one moment; only then
are sockets closed. It must never be undone.
"""

import asyncio
import random


class Leaving:
    """Set once, when the process is asked to stop."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()
        self._spread_s = 0.0

    @property
    def begun(self) -> bool:
        """Say whether this replica is on its way out."""
        return self._begun.is_set()

    def begin(self, *, spread_s: float = 0.0) -> None:
        """Leave from now on; who is sent elsewhere goes within `spread_s`."""
        if not self._begun.is_set():
            self._spread_s = spread_s
            self._begun.set()

    async def my_turn(self) -> None:
        """Return when whoever waits here should go: each at another moment, so that the others do not meet all at once."""
        await self._begun.wait()
        await asyncio.sleep(random.uniform(0.0, self._spread_s))  # noqa: S311
