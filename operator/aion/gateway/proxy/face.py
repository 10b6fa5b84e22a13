"""The proxy's listeners: HTTP CONNECT and absolute-form, on sockets of their own.

Apart from `serving` because no ASGI server serves CONNECT, and because nearly all of a connection's life here is no HTTP.
A connection is one request: its head, within a time and a size; then the syscall; then the relay's, or a refusal. It must
never hold more connections that have not asked than a fixed number: the oldest makes room.
"""

import asyncio
import socket
from typing import cast

from aion.api import errors, syscall
from aion.gateway.asgi import JSON
from aion.gateway.peers import Known
from aion.gateway.proxy import answering, asked, relay
from aion.gateway.proxy.tunnel import Tunnel
from aion.syscalls.call import Caller
from aion.syscalls.net_fetch import Lookup, lookup
from aion.syscalls.router import Reply, Router

HEAD_S = 10.0
"""For a request's head to be whole, from the connection on: a client asks when it connects."""

MAX_WAITING = 256
"""Connections that have not asked yet: as many as the socket's own backlog."""

SWEEP_S = 5.0
"""How often open tunnels are looked at; nobody wakes up while there is none."""

DRAIN_S, DRAIN_BYTES = 1.0, 1 << 20
"""What a refused client may still be sending is read for so long: closing on it would tear up the refusal."""


class EgressFace:
    """Serves the agent's tunnels."""

    def __init__(self, router: Router, *, caller: Caller, resolve: Lookup = lookup, head_s: float = HEAD_S) -> None:
        self.router = router
        self.caller = caller
        self.resolve = resolve
        self.head_s = head_s
        self.waiting: dict[Connection, None] = {}
        """Those that have not asked yet, oldest first."""
        self.leaving: set[Connection] = set()
        """Those that were refused and have not gone yet."""
        self.busy: set[asyncio.Task[None]] = set()
        self._open: set[Tunnel] = set()
        self._listening: list[asyncio.Server] = []
        self._sweep: asyncio.TimerHandle | None = None

    async def listen(self, on: socket.socket, *, peers: Known) -> None:
        """Serve the known peers of a socket that listens already."""
        loop = asyncio.get_running_loop()
        on.setblocking(False)

        def connect() -> Connection:
            return Connection(self, peers)

        if on.family == socket.AF_UNIX:
            self._listening.append(await loop.create_unix_server(connect, sock=on, backlog=MAX_WAITING))
        else:
            self._listening.append(await loop.create_server(connect, sock=on, backlog=MAX_WAITING))

    @property
    def tunnels(self) -> int:
        """How many are open."""
        return len(self._open)

    def opened(self, tunnel: Tunnel) -> None:
        """Look after a tunnel from now on; raises SyscallError where it is no longer allowed: dialling took its time."""
        self._verify(tunnel)
        self._open.add(tunnel)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_S, self._look)

    def ended(self, tunnel: Tunnel) -> None:
        """It is over."""
        self._open.discard(tunnel)

    def judge_again(self) -> None:
        """Cut the tunnels that are no longer allowed: the grant is another one, or nobody vouches for it any more."""
        for tunnel in list(self._open):
            try:
                self._verify(tunnel)
            except errors.SyscallError as refused:
                if tunnel.relay is not None:
                    tunnel.relay.finish(refused)

    def _verify(self, tunnel: Tunnel) -> None:
        if tunnel.call is not None:
            self.router.judge_again(tunnel.call)
            tunnel.verify_still()

    def _look(self) -> None:
        self._sweep = None
        self.judge_again()
        for tunnel in list(self._open):
            if tunnel.relay is not None and tunnel.relay.stale(idle_s=tunnel.idle_s):
                tunnel.relay.finish(None)
        if self._open:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_S, self._look)

    async def close(self, *, within_s: float) -> None:
        """Take no more connections, let what is under way end for so long, then cut it."""
        for listener in self._listening:
            listener.close()
        for connection in list(self.waiting):
            connection.leave()
        if self.busy:
            await asyncio.wait(set(self.busy), timeout=within_s)
        for task in self.busy:
            task.cancel()
        await asyncio.gather(*self.busy, return_exceptions=True)
        for connection in list(self.leaving):
            connection.leave()
        if self._sweep is not None:
            self._sweep.cancel()


class Connection(asyncio.Protocol):
    """One client, until it has asked; then its task's, and the relay's."""

    _transport: asyncio.Transport

    def __init__(self, face: EgressFace, peers: Known) -> None:
        self._face = face
        self._peers = peers
        self._buffer = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._drained: int | None = None
        """Bytes that were thrown away after a refusal; None while there was none."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask who is there, and wait for a head."""
        self._transport = cast("asyncio.Transport", transport)
        face = self._face
        try:
            self._peers.verify(transport.get_extra_info("socket"))
        except errors.SyscallError as stranger:
            reply = Reply(stranger.http_status, (JSON,), syscall.failure(stranger, syscall.Usage(), ""))
            self._answer(answering.refusal(reply))
            return
        if len(face.waiting) >= MAX_WAITING:
            next(iter(face.waiting)).late()
        face.waiting[self] = None
        self._timer = asyncio.get_running_loop().call_later(face.head_s, self.late)

    def data_received(self, data: bytes) -> None:
        """Collect the head; what comes after a refusal is thrown away."""
        if self._drained is not None:
            self._drained += len(data)
            if self._drained > DRAIN_BYTES:
                self._transport.abort()
            return
        self._buffer += data
        try:
            end = asked.end_of_head(self._buffer)
            if end < 0:
                return
            request = asked.parse(bytes(self._buffer[:end]))
        except errors.BadRequest as unread:
            self._refuse(unread)
            return
        early = bytes(self._buffer[end:])
        self._asked()
        self._transport.pause_reading()
        task = asyncio.get_running_loop().create_task(self._serve(request, early))
        self._face.busy.add(task)
        task.add_done_callback(self._face.busy.discard)

    def eof_received(self) -> bool:
        """A client that says no more before it has asked wanted nothing."""
        return False

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's own
        """It is gone."""
        self._asked()
        self._face.leaving.discard(self)

    def late(self) -> None:
        """Refuse a client that has not asked in time, or has to make room. One that has not said a word is let go."""
        if self._buffer:
            self._refuse(
                errors.BadRequest(f"the request's head was not whole in time, {self._face.head_s:g} s at most")
            )
        else:
            self.leave()

    def leave(self) -> None:
        """Close without a word."""
        self._asked()
        self._transport.close()

    async def _serve(self, request: asked.Asked, early: bytes) -> None:
        """The syscall of this connection, from judgement to end."""
        face, transport = self._face, self._transport
        tunnel = Tunnel(request, transport, early=early, resolve=face.resolve, opened=face.opened)
        try:
            reply = await face.router.carry(tunnel, face.caller, subject=request.authority, engine=tunnel.engine)
            if reply is None:
                return
            told = tunnel.told(reply)
            if tunnel.relay is None or told:
                transport.set_protocol(self)
                self._answer(told)
            elif reply.status == errors.UpstreamFailed.http_status:
                relay.close(transport)  # half an answer is passed on as such
            else:
                transport.abort()
        except asyncio.CancelledError:
            transport.abort()
            raise
        finally:
            face.ended(tunnel)

    def _refuse(self, error: errors.SyscallError) -> None:
        """Answer what could not be read; it is counted and recorded like any refusal."""
        reply = self._face.router.refuse("net.fetch", self._face.caller, error)
        self._answer(answering.refusal(reply))

    def _answer(self, whole: bytes) -> None:
        """Write the last thing that this client hears, and close when it has had time to read it."""
        self._asked()
        self._drained = 0
        transport = self._transport
        if transport.is_closing():
            return
        transport.write(whole)
        if transport.can_write_eof():
            transport.write_eof()
        transport.resume_reading()
        self._face.leaving.add(self)
        asyncio.get_running_loop().call_later(DRAIN_S, relay.close, transport)

    def _asked(self) -> None:
        """It waits no longer."""
        self._face.waiting.pop(self, None)
        self._buffer.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
