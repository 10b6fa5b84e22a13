"""The connections of one listener: how many there are, and which one goes where a newcomer finds no room.

Apart from `connection` because no connection may decide over another. A connection that waits (idle, or with a head that is
not whole) goes for a newcomer, the one that waits longest first; one whose request is under way never does. So who
opens connections and says nothing keeps nobody out. It must never hold more connections than it was told.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from uvicorn.config import Config
from uvicorn.server import ServerState

from aion.serving.limits import Limits


class Peers(Protocol):
    """Decides by a connection alone who may speak."""

    def verify(self, connection: Any, /) -> None:  # noqa: ANN401 - a socket, or what a loop shows in its place
        """Return where the peer is known; raises SyscallError."""


class Waiting(Protocol):
    """A connection that no request is under way on."""

    def make_room(self) -> None:
        """End, so that another may begin."""


@dataclass(eq=False, slots=True)
class Pool:
    """What the connections of one listener share."""

    config: Config
    limits: Limits
    peers: Peers | None = None
    state: ServerState = field(default_factory=ServerState)
    retiring: bool = False
    """Answers say that the connection closes: clients go elsewhere with their next request."""
    most: int = 0
    _waiting: dict[Waiting, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.most = self.limits.fitting()

    def waits(self, connection: Waiting) -> None:
        """Note that nothing is under way on it from now on."""
        self._waiting[connection] = None

    def busy(self, connection: Waiting) -> None:
        """Note that something is, or that it is gone."""
        self._waiting.pop(connection, None)

    def admits(self) -> bool:
        """Say whether one more connection, which is counted already, may stay; where needed another goes for it."""
        if len(self.state.connections) <= self.most:
            return True
        longest = next(iter(self._waiting), None)
        if longest is None:
            return False
        del self._waiting[longest]
        longest.make_room()
        return True
