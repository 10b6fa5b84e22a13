"""Every dialect that is served, by its path; each is loaded when it is first spoken.

Apart because both processes serve the same ones, and because most agents speak one of them or none, while every agent's
start waits for what its gateway loads. It must never load a dialect at its own import.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from aion.dialects.wire import Face
from aion.syscalls.call import Caller, Standing
from aion.syscalls.router import Router

if TYPE_CHECKING:
    from aion.dialects.mcp import Mcp

Standings = Callable[[Caller], Standing]
"""The standing of a caller; raises SyscallError."""


class Served:
    """The faces of one process."""

    def __init__(self, router: Router, *, standing: Standings) -> None:
        self._router = router
        self._standing = standing
        self._mcp: Mcp | None = None
        self._faces: dict[str, Face] = {}
        self._makers: Mapping[str, Callable[[], Face]] = {
            "/mcp": self._make_mcp,
            "/v1/chat/completions": self._make_chat,
            "/v1/responses": self._make_responses,
            "/v1/messages": self._make_messages,
            "/v1/models": self._make_catalogue,
        }

    @property
    def paths(self) -> list[str]:
        """Where something is served."""
        return list(self._makers)

    def at(self, path: str) -> Face | None:
        """The face that is served there, loaded if it has to be."""
        face = self._faces.get(path)
        if face is None and (make := self._makers.get(path)) is not None:
            face = self._faces[path] = make()
        return face

    async def close(self) -> None:
        """End what goes on without its caller."""
        if self._mcp is not None:
            await self._mcp.close()

    def _make_mcp(self) -> Face:
        from aion.dialects.mcp import Mcp

        self._mcp = Mcp(self._router, standing=self._standing)
        return self._mcp

    def _make_chat(self) -> Face:
        from aion.dialects.generating import Generating
        from aion.dialects.openai_chat import Chat

        return Generating(self._router, Chat())

    def _make_responses(self) -> Face:
        from aion.dialects.generating import Generating
        from aion.dialects.openai_responses import Responses

        return Generating(self._router, Responses())

    def _make_catalogue(self) -> Face:
        from aion.dialects.catalogue import Catalogue

        return Catalogue(self._standing)

    def _make_messages(self) -> Face:
        from aion.dialects.anthropic_messages import Messages
        from aion.dialects.generating import Generating

        return Generating(self._router, Messages())
