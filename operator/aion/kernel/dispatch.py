"""The first decision on a request: the syscall path goes to `external` as it is, everything else to FastAPI.

It stands apart because FastAPI costs a syscall more than all checks together. It must never decide anything but this.
"""

from aion.kernel.external import PREFIX
from aion.kernel.intake import App, Message, Receive, Send


class Dispatch:
    """The kernel's ASGI app."""

    def __init__(self, *, syscalls: App, control: App) -> None:
        self._syscalls = syscalls
        self._control = control

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        hot = scope["type"] == "http" and scope["path"].startswith(PREFIX)
        await (self._syscalls if hot else self._control)(scope, receive, send)
