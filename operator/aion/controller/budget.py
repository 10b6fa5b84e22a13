"""The budget of writes: so many a second, with a burst, first come first served.

It stands apart so that it can be tested without a server. An API server defends itself, but by refusing everybody's requests of a priority level: a controller
that starts over ten thousand objects must not be the reason. The arithmetic of the default: 50 new Agents a second x 3 writes, and a third to spare.
Where the server names a pause (Retry-After), everybody waits: it refused this client, not this object. It must never pace the renewals of the Lease.
"""

import asyncio
import time
from collections.abc import Callable


class Budget:
    """A token bucket for one event loop. `per_s` writes a second on the long run, `burst` at once."""

    def __init__(self, *, per_s: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._depth_s = (burst - 1) / per_s
        self._clock = clock
        self._next = clock() - self._depth_s  # when the next token falls due; never further back than a whole burst
        self._rest_until = float("-inf")

    def book(self) -> float:
        """Take the next token; answers how many seconds from now it may be spent. Tokens are dated in the order of the calls."""
        now = self._clock()
        due = max(self._next, now - self._depth_s)
        self._next = due + 1 / self._per_s
        return max(0.0, due - now, self._rest_until - now)

    async def take(self) -> None:
        """Wait for one's turn, and for the end of a rest that is asked for meanwhile."""
        wait = self.book()
        while wait > 0:
            await asyncio.sleep(wait)
            wait = self._rest_until - self._clock()

    def pause(self, seconds: float) -> None:
        """The server asked for a rest. Several such words are one, the longest; no burst is saved up meanwhile."""
        self._rest_until = max(self._rest_until, self._clock() + seconds)
        self._next = max(self._next, self._rest_until)
