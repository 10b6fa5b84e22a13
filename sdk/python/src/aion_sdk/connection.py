"""Kept-alive connections to one address, shared by threads.

Apart from the agent, because what may have been sent is known only here: `Unsent` means not executed, `Lost` means nobody
knows. It must never reuse a connection after an answer that did not end cleanly, nor one that another process inherited.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
import weakref
from typing import TYPE_CHECKING

from aion_sdk import attempt, dial, http1

if TYPE_CHECKING:
    from aion_sdk.address import Address
    from aion_sdk.call import Call, Identity

IDLE_S = 4.0  # servers commonly close after 5 s; below it, a reused connection is nearly always alive
KEPT = 32  # idle connections; more callers than this open and close their own
AT_ONCE = 65_536
"""Bytes a read: more than a TLS record (16 KiB), so that none is left where poll does not see it; less than what malloc
takes from mmap (128 KiB), where each read would cost page faults."""


class Pool:
    """Connections, taken and put back; safe across threads, emptied in a forked child."""

    def __init__(self, address: Address, who: Identity) -> None:
        self._address = address
        self._who = who
        self._tls = dial.tls_context(address)
        self._lock = threading.Lock()
        self._idle: list[tuple[float, socket.socket]] = []
        weakref.finalize(self, _close_all, self._idle)  # an agent that was dropped leaves nothing open
        _pools.add(self)

    def exchange(self, call: Call) -> http1.Answer:
        """Send and receive within the call's deadline. Raises attempt.Ended or http1.BrokenAnswer."""
        try:
            call.left()
            sock = self._take() or dial.connect(self._address, self._tls, deadline=call.deadline)
        except OSError as error:
            raise attempt.broken(error, sent=False) from error
        answer = http1.Answer()
        sent = False
        try:
            request = call.request(self._address, self._who)
            sock.settimeout(call.left())
            sent = _send(sock, request)
            while True:
                sock.settimeout(call.left())
                if answer.feed(sock.recv(AT_ONCE)):
                    break
        except http1.BrokenAnswer as error:
            sock.close()
            raise attempt.closed(answer, error, sent=sent) from error
        except OSError as error:
            sock.close()
            raise attempt.broken(error, sent=sent) from error
        except BaseException:  # an interrupt in the middle: this connection holds half a conversation
            sock.close()
            raise
        if sent and answer.keep_alive:
            self._put(sock)
        else:
            sock.close()
        return answer

    def close(self) -> None:
        """Close what is idle. Calls on their way end as they would."""
        with self._lock:
            _close_all(self._idle)

    def forget(self) -> None:
        """In a forked child: our copies of the parent's connections are closed, never spoken on."""
        self._lock = threading.Lock()  # another thread of the parent may have held it, and is not here to let go
        _close_all(self._idle)

    def _take(self) -> socket.socket | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                since, sock = self._idle.pop()
            if time.monotonic() - since < IDLE_S and not _readable(sock):
                return sock
            sock.close()

    def _put(self, sock: socket.socket) -> None:
        with self._lock:
            if len(self._idle) < KEPT:
                self._idle.append((time.monotonic(), sock))
                return
        sock.close()


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _forget_all() -> None:
    for pool in list(_pools):
        pool.forget()


os.register_at_fork(after_in_child=_forget_all)


def _close_all(idle: list[tuple[float, socket.socket]]) -> None:
    while idle:
        idle.pop()[1].close()


def _send(sock: socket.socket, request: bytes) -> bool:
    """Send it; False where the server hung up in the middle: it did not execute it, but may have said why, so read on."""
    try:
        sock.sendall(request)
    except TimeoutError:
        raise
    except OSError:
        return False
    return True


def _readable(sock: socket.socket) -> bool:
    """An idle connection with something to read was closed by its server (or speaks out of turn)."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
