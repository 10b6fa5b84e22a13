"""The sockets that aion-launch opened before this process existed, by name.

Apart because it is the other half of `aion-launch --listen NAME=ADDR` (systemd's convention: LISTEN_PID, LISTEN_FDS,
LISTEN_FDNAMES). A probe or an early agent waits in their backlog and never sees a refusal. Which socket a request came
in by decides what it may ask, so a socket without a name that is known here is an error, never a guess.
"""

import os
import socket
from collections.abc import Mapping

UNIX, TCP, POD = "unix", "tcp", "pod"
EGRESS, PROXY = "egress", "proxy"
NAMES = frozenset({UNIX, TCP, POD, EGRESS, PROXY})
"""The agent's own socket, its twin on loopback, and the Pod's address (lifecycle and metrics only); and for the egress proxy,
which no other app serves, again a socket and its twin on loopback.
"""

FIRST_FD = 3


class NoListeners(RuntimeError):  # noqa: N818 - what is the matter
    """The sockets that should have been handed over are not there."""


def inherited(environ: Mapping[str, str], *, pid: int) -> dict[str, socket.socket]:
    """Take over the sockets; raises NoListeners."""
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    if environ.get("LISTEN_PID") != str(pid) or environ.get("LISTEN_FDS") != str(len(names)):
        raise NoListeners(
            "start this by `aion-launch --listen unix=… --listen tcp=… --listen pod=… -- python -m aion.gateway`"
        )
    if unknown := set(names) - NAMES:
        raise NoListeners(f"got sockets named {', '.join(sorted(unknown))}, expected {', '.join(sorted(NAMES))}")
    if UNIX not in names:
        raise NoListeners("there is no socket named unix, and without it no agent can speak")
    for at in range(len(names)):
        os.set_inheritable(FIRST_FD + at, False)
    return {name: socket.socket(fileno=FIRST_FD + at) for at, name in enumerate(names)}
