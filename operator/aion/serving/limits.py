"""What one connection may take of a process, and how many there may be: data, with the arithmetic beside each number.

Apart so that an operator's setting, a test and the code that holds them read the same fields. It must never be changed while
a server runs.
"""

import resource
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one listener. The size of a body is the app's to bound: it differs by path and policy."""

    connections: int = 1024
    """At once. One costs some 10 KiB while it is idle."""

    head_bytes: int = 32 << 10
    """Request line and headers: four times what browsers and proxies send, so that a token of 8 KiB passes."""

    headers: int = 100

    head_s: float = 10.0
    """From a request's first byte to the end of its headers: one packet for every honest client."""

    body_s: float = 20.0
    """From there to the end of the body: 8 MiB by a line of 4 Mbit/s."""

    idle_s: float = 75.0
    """Between requests: longer than clients keep an idle connection, so that it is they who close it."""

    stalled_s: float | None = None
    """How long a caller may leave what we send unread; None: for as long as it likes."""

    def fitting(self) -> int:
        """How many connections there may be in this process: the wish, within three quarters of its descriptors."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return self.connections if soft == resource.RLIM_INFINITY else max(1, min(self.connections, soft * 3 // 4))
