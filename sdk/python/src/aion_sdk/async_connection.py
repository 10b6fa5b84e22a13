"""Kept-alive connections of one event loop to one address: connection.py's twin for asyncio.

Apart because an event loop tells of a closed connection by itself, and because a call may be cancelled at any await: then
its connection is dropped, never put back. It must never hold more than CONNECTIONS open: callers beyond wait their turn.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections import deque
from typing import TYPE_CHECKING, cast

from aion_sdk import async_dial, attempt, dial, http1

if TYPE_CHECKING:
    import socket

    from aion_sdk.address import Address
    from aion_sdk.call import Call, Identity

IDLE_S = 4.0  # as in connection.py
CONNECTIONS = 100  # far below the usual limit of 1024 open files, above what one gateway lets run at once


class Pool:
    """Connections, taken and put back, and the queue for them. Of one event loop; not for threads."""

    def __init__(self, address: Address, who: Identity) -> None:
        self._address = address
        self._who = who
        self._tls = dial.tls_context(address)
        self._idle: list[tuple[float, Conversation]] = []
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def exchange(self, call: Call) -> http1.Answer:
        """Send and receive within the call's deadline. Raises attempt.Ended or http1.BrokenAnswer."""
        await self._turn(call)
        try:
            conversation = self._take() or await self._connect(call)
            answer = await conversation.ask(call.request(self._address, self._who), deadline=call.deadline)
            if conversation.reusable:
                self._idle.append((time.monotonic(), conversation))
            else:
                conversation.abort()
            return answer
        finally:
            self._leave()

    async def close(self) -> None:
        """Close what is idle. Calls on their way end as they would."""
        while self._idle:
            self._idle.pop()[1].abort()
        await asyncio.sleep(0)  # the loop closes them in its next round

    async def _turn(self, call: Call) -> None:
        """Wait for one of the CONNECTIONS, first come, first served."""
        if self._busy < CONNECTIONS:
            self._busy += 1
            return
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        timer = loop.call_later(async_dial.left(call.deadline), _set_late, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._leave()  # it was our turn, and we are no longer here
            raise
        finally:
            timer.cancel()

    def _leave(self) -> None:
        """Hand the turn on; `busy` falls only where nobody waits, so that no newcomer overtakes."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._busy -= 1

    def _take(self) -> Conversation | None:
        while self._idle:
            since, conversation = self._idle.pop()
            if time.monotonic() - since < IDLE_S and conversation.alive:
                return conversation
            conversation.abort()
        return None

    async def _connect(self, call: Call) -> Conversation:
        try:
            if self._address.is_unix:
                sock = dial.unix(self._address.path)
            else:
                sock = await async_dial.connect(self._address, deadline=call.deadline)
            return await self._converse(sock, call)
        except OSError as error:
            if time.monotonic() >= call.deadline:
                raise attempt.Late(sent=False) from error
            raise attempt.broken(error, sent=False) from error

    async def _converse(self, sock: socket.socket, call: Call) -> Conversation:
        """Hand a connected socket to the loop.

        Cancelled, it is still handed over, and then closed by the loop alone: uvloop, interrupted in between, would close
        the number of a socket that Python believes open, and Python would close it again.
        """
        loop = asyncio.get_running_loop()
        if self._tls is None:
            handing = asyncio.ensure_future(loop.create_connection(Conversation, sock=sock))
        else:
            handing = asyncio.ensure_future(
                loop.create_connection(
                    Conversation,
                    sock=sock,
                    ssl=self._tls,
                    server_hostname=self._address.host,
                    ssl_handshake_timeout=max(call.deadline - time.monotonic(), 0.001),
                )
            )
        try:
            _, made = await asyncio.shield(handing)
        except BaseException:
            handing.add_done_callback(_abort_result)
            raise
        return made


class Conversation(asyncio.Protocol):
    """One connection, with at most one question under way."""

    def __init__(self) -> None:
        self._answer = http1.Answer()
        self._done: asyncio.Future[http1.Answer] | None = None
        self._paused = False
        self._sent = False  # whether the request left whole

    async def ask(self, request: bytes, *, deadline: float) -> http1.Answer:
        """Send and receive. Cancelled, late or broken, the connection is closed. Raises attempt.Ended or BrokenAnswer."""
        if self._transport.is_closing():  # it was closed a moment ago, and the loop would tell us no more
            raise attempt.Unsent("the connection was closed")
        loop = asyncio.get_running_loop()
        self._answer, self._sent = http1.Answer(), False
        self._done = loop.create_future()
        timer = loop.call_later(deadline - time.monotonic(), self._expire)
        try:
            async_dial.left(deadline)
            self._transport.write(request)
            self._sent = not self._paused and not self._transport.is_closing()
            return await self._done
        except BaseException:
            self.abort()
            raise
        finally:
            timer.cancel()
            self._done = None

    @property
    def reusable(self) -> bool:
        """Whether the conversation ended so that another may follow."""
        return self._sent and self._answer.keep_alive and not self._transport.is_closing()

    @property
    def alive(self) -> bool:
        """Whether the server has kept silent and open since; asked of the socket too, for a loop that was kept busy."""
        if self._transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket"), select.POLLIN)
        return not poll.poll(0)

    def abort(self) -> None:
        """Close it now, whatever is under way."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop's word: connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=1, low=0)  # paused means: not all of it has left

    def pause_writing(self) -> None:
        """The loop's word: the request did not fit into the socket."""
        self._paused = True

    def resume_writing(self) -> None:
        """The loop's word: now all of it has left."""
        self._paused = False
        self._sent = self._done is not None

    def data_received(self, data: bytes) -> None:
        """The loop's word: a piece of the answer, or of something that nobody asked for."""
        if self._done is None or self._done.done():
            self.abort()
            return
        try:
            if self._answer.feed(data):
                self._done.set_result(self._answer)
        except http1.BrokenAnswer as error:
            self._done.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """The loop's word: closed, by whomever."""
        if self._done is None or self._done.done():
            return
        if isinstance(exc, OSError):
            self._done.set_exception(attempt.broken(exc, sent=self._sent))
            return
        try:
            self._answer.feed(b"")
            self._done.set_result(self._answer)
        except http1.BrokenAnswer as error:
            self._done.set_exception(attempt.closed(self._answer, error, sent=self._sent))

    def _expire(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(attempt.Late(sent=self._sent))


def _abort_result(handed: asyncio.Future[tuple[asyncio.Transport, Conversation]]) -> None:
    if not handed.cancelled() and handed.exception() is None:
        handed.result()[1].abort()


def _set_late(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_exception(attempt.Late(sent=False))
