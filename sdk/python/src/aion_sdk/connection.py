"""Kept-alive connections to one address, shared by threads.

Apart from the agent, because what may have been sent is known only here: `Unsent` means not executed, `Lost` means nobody
knows. It must never reuse a connection after an answer that did not end cleanly, nor one that another process inherited.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
import time
import weakref

from aion_sdk import http1
from aion_sdk.address import Address
from aion_sdk.call import Call

IDLE_S = 4.0  # servers commonly close after 5 s; below it, a reused connection is nearly always alive
KEPT = 32  # idle connections; more callers than this open and close their own


class Unsent(Exception):  # noqa: N818  (named for what is the matter)
    """The request did not leave whole: it was not executed."""


class Lost(Exception):  # noqa: N818  (the same)
    """The request was sent and no whole answer came."""


class Pool:
    """Connections, taken and put back; safe across threads, emptied in a forked child."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None = None) -> None:
        self._address = address
        self._tls = tls or (ssl.create_default_context() if address.tls else None)
        self._lock = threading.Lock()
        self._idle: list[tuple[float, socket.socket]] = []
        self._pid = os.getpid()
        weakref.finalize(self, _close_all, self._idle)  # an agent that was dropped leaves nothing open

    def exchange(self, head: bytes, call: Call) -> http1.Answer:
        """Send and receive within the call's deadline. Raises Unsent, Lost, TimeoutError (`sent` in its args), BrokenAnswer."""
        try:
            sock = self._take() or self._connect(call.left())
        except TimeoutError:
            raise TimeoutError(False) from None
        answer = http1.Answer()
        sent = False
        try:
            sock.settimeout(call.left())
            refused = _send(sock, head + call.body)
            sent = refused is None
            while True:
                sock.settimeout(call.left())
                if answer.feed(sock.recv(262144)):
                    break
        except TimeoutError:
            sock.close()
            raise TimeoutError(sent) from None
        except http1.BrokenAnswer as error:
            sock.close()
            if not answer.started:
                raise (Lost if sent else Unsent)(str(error)) from None
            raise
        except OSError as error:
            sock.close()
            raise (Lost if sent else Unsent)(str(error)) from error
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

    def _take(self) -> socket.socket | None:
        while True:
            with self._lock:
                if self._pid != os.getpid():
                    _close_all(self._idle)  # the parent's: our copies are closed, never spoken on
                    self._pid = os.getpid()
                if not self._idle:
                    return None
                since, sock = self._idle.pop()
            if time.monotonic() - since < IDLE_S and not _readable(sock):
                return sock
            sock.close()

    def _put(self, sock: socket.socket) -> None:
        with self._lock:
            if len(self._idle) < KEPT and self._pid == os.getpid():
                self._idle.append((time.monotonic(), sock))
                return
        sock.close()

    def _connect(self, timeout: float) -> socket.socket:
        try:
            if self._address.is_unix:
                sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                try:
                    sock.settimeout(timeout)
                    sock.connect(self._address.path)
                except BaseException:
                    sock.close()
                    raise
                return sock
            sock = socket.create_connection((self._address.host, self._address.port), timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is None:
                return sock
            try:
                return self._tls.wrap_socket(sock, server_hostname=self._address.host)
            except BaseException:
                sock.close()
                raise
        except TimeoutError:
            raise
        except OSError as error:
            raise Unsent(str(error)) from error


def _close_all(idle: list[tuple[float, socket.socket]]) -> None:
    while idle:
        idle.pop()[1].close()


def _send(sock: socket.socket, request: bytes) -> OSError | None:
    """Send it all. A server that hangs up in the middle did not execute it, but may have said why: then go on to read."""
    try:
        sock.sendall(request)
    except TimeoutError:
        raise
    except OSError as error:
        return error
    return None


def _readable(sock: socket.socket) -> bool:
    """An idle connection with something to read was closed by its server (or speaks out of turn)."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
