"""`python -m aion.cli.localrunner FD PARENT`: the tool runner, on a socket that its parent listens on already.

It stands apart because these three lines must run in the new process before the runner begins: take the socket where the
runner looks for one, die with the parent whatever way that ends, and go. It must never be used in a Pod.
"""

import os
import signal
import sys

FIRST_FD = 3
PR_SET_PDEATHSIG = 1


def main(fd: int, parent: int) -> None:
    """Become the tool runner."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before we asked
            sys.exit(1)
    if fd != FIRST_FD:
        os.dup2(fd, FIRST_FD, inheritable=False)
        os.close(fd)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}

    from aion.toolrunner.__main__ import main as serve

    serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
