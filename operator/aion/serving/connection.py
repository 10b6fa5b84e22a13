"""One HTTP connection: uvicorn's protocol, with an end to everything that a stranger could draw out.

Apart from `server` because it is all about bytes and time. A head, a body and an idle time each have a deadline, a head has
a size, and what is refused here is answered by the contract's JSON. Deadlines cost a request nothing that comes in one
piece. It must never answer where its answer could be taken for that of another request.
"""

import asyncio
from typing import Any, Literal, NoReturn, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from aion.api import errors, syscall
from aion.serving import framing
from aion.serving.pool import Pool

LINGER_S = 2.0
"""For a refusal to be read; then the connection is cut, however much of it is unsent."""

BUSY_RETRY_MS = 1000

_REASONS = {400: b"Bad Request", 403: b"Forbidden", 429: b"Too Many Requests"}

Part = Literal["nothing", "head", "body"]


class Connection(HttpToolsProtocol):
    """A connection of a pool."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(config=pool.config, server_state=pool.state, app_state={})
        self._pool = pool
        self._limits = pool.limits
        self._part: Part = "nothing"
        """What of a request is being read."""
        self._message = 0
        self._size = 0
        """Bytes of the head that is being read, as far as they are known."""
        self._timed: tuple[int, Part] = (0, "nothing")
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._wrong: errors.SyscallError | None = None
        self._deaf = False

    # What the transport tells

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or say why not."""
        super().connection_made(transport)
        if self._pool.peers is not None:
            try:
                self._pool.peers.verify(transport.get_extra_info("socket"))
            except errors.SyscallError as stranger:
                self.app = cast("Any", _Refusing(stranger))
        if not self._pool.admits():
            self._hang_up(errors.Busy("this process has as many connections as it holds", retry_after_ms=BUSY_RETRY_MS))
            return
        self._pool.waits(self)
        self._idle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        self._pool.busy(self)
        self._forget_deadlines()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._deaf:
            return
        began = self._message
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
                return
            self._deaf = True  # in whatever protocol it goes on: the request is answered, then the connection ends
        except httptools.HttpParserError as wrong:
            self._refuse(self._wrong or errors.BadRequest(f"this is not a request of HTTP/1.1: {wrong}"))
            return
        if self._part == "head" and self._message == began:
            self._size += len(data)  # of a header that has not ended, the parser says nothing
            if self._size > self._limits.head_bytes:
                self._refuse(self._too_large())
                return
        self._attend()

    def pause_writing(self) -> None:
        """The caller reads slower than we send."""
        super().pause_writing()
        if self._limits.stalled_s is not None and self._stalled is None:
            self._stalled = self.loop.call_later(self._limits.stalled_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The caller has caught up."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def handle_websocket_upgrade(self) -> None:
        """Hand the transport over: from here on another protocol has it."""
        self._pool.busy(self)
        self._forget_deadlines()
        super().handle_websocket_upgrade()

    # What the parser tells

    def on_message_begin(self) -> None:
        """A request's first byte."""
        super().on_message_begin()
        self._part, self._size = "head", 0
        self._message += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, whole."""
        self._size += len(name) + len(value)
        if self._size > self._limits.head_bytes or len(self.headers) >= self._limits.headers:
            self._stop(self._too_large())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: the request begins."""
        self._part = "body"
        if self._size + len(self.url) > self._limits.head_bytes:
            self._stop(self._too_large())
        elsewhere = self.parser.should_upgrade()
        try:
            framing.verify(self.headers, version=self.parser.get_http_version(), upgrades=elsewhere)
        except errors.BadRequest as ambiguous:
            self._stop(ambiguous)
        self._pool.busy(self)
        self._unset_keepalive_if_required()
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before and (self._pool.retiring or elsewhere):
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._part = "nothing"
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is whole."""
        super().on_response_complete()
        if not self.pipeline and not self.transport.is_closing():
            self._pool.waits(self)

    # What the pool and the server ask for

    def make_room(self) -> None:
        """End, for another that comes: no request is under way here."""
        self.transport.abort()

    def retire(self) -> None:
        """Let the answer that is under way be the last."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    # How it ends

    def _attend(self) -> None:
        """Hold what is being read to its deadline; what is whole has none."""
        reading = (self._message, self._part)
        if reading == self._timed:
            return
        self._timed = reading
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._part != "nothing":
            within = self._limits.head_s if self._part == "head" else self._limits.body_s
            self._deadline = self.loop.call_later(within, self._late, within)

    def _late(self, within: float) -> None:
        if self.flow.read_paused:  # it is we who do not read
            self._deadline = self.loop.call_later(within, self._late, within)
            return
        self._refuse(errors.BadRequest(f"the request's {self._part} was not whole within {within:g} s"))

    def _idle(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self._limits.idle_s, self.timeout_keep_alive_handler)

    def _stop(self, why: errors.SyscallError) -> NoReturn:
        """End the parsing from within one of its callbacks; `data_received` goes on with the reason."""
        self._wrong = why
        raise why

    def _too_large(self) -> errors.BadRequest:
        most = self._limits
        return errors.BadRequest(
            f"the request's head is larger than {most.head_bytes} bytes, or has more than {most.headers} headers"
        )

    def _refuse(self, why: errors.SyscallError) -> None:
        """Answer what is no request that we take, and hang up; only hang up where another answer is still owed."""
        cycle = cast("RequestResponseCycle | None", self.cycle)  # there is none before the first request
        if cycle is None or cycle.response_complete:
            self._hang_up(why)
            return
        theirs = self._part == "body" and not cycle.response_started and not self.pipeline
        self._hang_up(why if theirs else None)
        cycle.disconnected = True
        cycle.message_event.set()

    def _hang_up(self, why: errors.SyscallError | None) -> None:
        self._deaf = True
        self._pool.busy(self)
        self._forget_deadlines()
        if self.transport.is_closing():
            return
        if why is not None:
            self.transport.write(_answer(why))
        self.transport.close()
        self._deadline = self.loop.call_later(LINGER_S, self.transport.abort)

    def _forget_deadlines(self) -> None:
        self._unset_keepalive_if_required()
        for timer in (self._deadline, self._stalled):
            if timer is not None:
                timer.cancel()
        self._deadline = self._stalled = None


class _Refusing:
    """The app of a connection whose peer is nobody we serve."""

    def __init__(self, error: errors.SyscallError) -> None:
        self._status = error.http_status
        self._body = syscall.failure(error, syscall.Usage(), "")

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's own
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self._body)),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})


def _answer(error: errors.SyscallError) -> bytes:
    body = syscall.failure(error, syscall.Usage(), "")
    later = b"" if error.retry_after_ms is None else b"retry-after: %d\r\n" % -(-error.retry_after_ms // 1000)
    return (
        b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n%b"
        % (error.http_status, _REASONS[error.http_status], len(body), later, body)
    )
