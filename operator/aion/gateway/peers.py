"""Whose process is at the other end of the unix socket: asked of the kernel, once a connection.

Apart because it is the identity of everything an agent does: no header, no token, the uid that the container runs as
(SO_PEERCRED). The socket's file is open to all, for the two containers have no group in common that an image could not
change; so a connection of another uid is answered 403 and nothing else. It must never trust what the peer says.
"""

import socket
import struct

from aion.api import errors

_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid


class Known:
    """The policy of a connection: its peer is one of these uids. A socket that is not a unix socket has no peer to ask."""

    def __init__(self, uids: frozenset[int]) -> None:
        self._uids = uids

    def verify(self, connection: socket.socket) -> None:
        """Return where the peer is known; raises PolicyDenied."""
        if connection.family != socket.AF_UNIX:
            return
        told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(told)
        if uid not in self._uids:
            raise errors.PolicyDenied(
                f"uid {uid} is not the agent's: this socket serves the agent's own process", rule="identity.peer"
            )
