"""The first decision on a request: syscalls go to `external` as they are, dialects where they are served, the rest to FastAPI.

It stands apart because FastAPI costs a syscall more than all checks together. It must never decide anything but this.
"""

from collections.abc import Container

from aion.kernel.external import PREFIX
from aion.kernel.intake import App, Message, Receive, Send


class Dispatch:
    """The kernel's ASGI app."""

    def __init__(
        self, *, syscalls: App, control: App, dialects: App | None = None, spoken_at: Container[str] = ()
    ) -> None:
        """`dialects` serves the paths `spoken_at`."""
        self._syscalls = syscalls
        self._control = control
        self._dialects = dialects
        self._spoken_at = spoken_at

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        app = self._control
        if scope["type"] == "http":
            path = scope["path"]
            if path.startswith(PREFIX):
                app = self._syscalls
            elif self._dialects is not None and path in self._spoken_at:
                app = self._dialects
        await app(scope, receive, send)
