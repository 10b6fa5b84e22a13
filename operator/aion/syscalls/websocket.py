"""A WebSocket to a server, on asyncio alone: dial, upgrade, converse, part.

Apart from what is said on it (`toollink`, the gateway's channel) and from the bytes (`wsframes`, `wsupgrade`). Our own
because the gateway starts in the path of every agent's start: decisions/0003 has the numbers. What the peer says is
handed on in the loop's turn in which it came, without a task or a queue in between. It must never wait without end for a peer that is
silent, and never say that nothing was sent when something was.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

import msgspec

from aion.syscalls import wsframes, wsupgrade
from aion.syscalls.wsupgrade import Broken, Refused, WebSocketError

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["Broken", "Ended", "Refused", "Socket", "WebSocketError", "connect"]

PARTING_S = 1.0
"""For goodbyes: a peer that hangs must not hold up who leaves it."""


class Ended(msgspec.Struct, frozen=True):
    """Why there is nothing more to hear: the peer's close code, ours where it broke the rules, or wsframes.LOST."""

    code: int
    why: str


async def connect(url: str, *, headers: Mapping[str, str], max_bytes: int, ping_s: float) -> "Socket":
    """Dial and upgrade. Raises Refused or Broken; how long it may take is the caller's to say.

    `max_bytes` bounds a message of the peer. Every `ping_s` it is pinged, and given up where it said nothing since the
    last time.
    """
    to = wsupgrade.target(url)
    key = wsupgrade.new_key()
    request = wsupgrade.request(to, key, headers)
    loop = asyncio.get_running_loop()
    try:
        _, socket = await loop.create_connection(
            lambda: Socket(key, max_bytes=max_bytes, ping_s=ping_s), to.host, to.port, ssl=_tls() if to.tls else None
        )
    except (OSError, UnicodeError) as error:
        raise Broken(str(error) or type(error).__name__) from None
    await socket._upgrade(request)  # noqa: SLF001 - the other half of its making
    return socket


class Socket(asyncio.Protocol):
    """A connection; `connect` makes it."""

    def __init__(self, key: str, *, max_bytes: int, ping_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._key = key
        self._ping_s = ping_s
        self._frames = wsframes.Reader(max_bytes=max_bytes)
        self._upgraded: asyncio.Future[None] = loop.create_future()
        self._unheard = bytearray()  # the answer's head, then what came before anybody listened
        self._on_text: Callable[[bytes], None] | None = None
        self._on_end: Callable[[Ended], None] | None = None
        self._ended: Ended | None = None
        self._parted = False  # our close frame is out: nothing may follow it
        self._alive = True  # the peer said something since the last ping
        self._owed: bytes | None = None  # the pong of a ping that came while we could not write
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def listen(self, on_text: Callable[[bytes], None], on_end: Callable[[Ended], None]) -> None:
        """Begin to hear: every message, and once why there are no more. Until then the peer has to wait."""
        self._on_text, self._on_end = on_text, on_end
        first, self._unheard = self._unheard, bytearray()
        if self._ended is not None:
            on_end(self._ended)
            return
        self._hear(first)
        if not self._transport.is_closing():
            self._transport.resume_reading()

    async def send(self, data: bytes) -> None:
        """Send a text, and wait while the peer is slow to take it. Raises Broken, which says whether it was begun."""
        if self._parted or self._is_over() or self._transport.is_closing():
            raise Broken("the connection is closed")
        self._transport.write(wsframes.text(data))
        if not self._writable.is_set():
            await self._writable.wait()
            if self._gone.is_set():
                raise Broken("the connection broke while this was on its way", sent=True)

    def hang_up(self, why: str) -> None:
        """End it from within `on_text`: what the peer says cannot be gone on with."""
        self._leave(Ended(wsframes.PROTOCOL_ERROR, why))

    async def close(self) -> None:
        """Say goodbye and wait for the peer's, but not for long. Closing twice is once."""
        self._part(wsframes.NORMAL)
        if self._on_text is None:
            self.listen(lambda _text: None, lambda _ended: None)  # the peer's goodbye has to be read
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PARTING_S):
                    await self._gone.wait()
        finally:
            self._transport.abort()
        await self._gone.wait()

    async def _upgrade(self, request: bytes) -> None:
        self._transport.write(request)
        try:
            await self._upgraded
        except BaseException:
            self._transport.abort()
            raise
        self._later(self._ping_s, self._beat)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop's word that it is connected."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """The loop's word that something came."""
        self._alive = True
        if self._on_text is not None:
            self._hear(data)
            return
        self._unheard += data
        if not self._upgraded.done():
            self._read_head()

    def pause_writing(self) -> None:
        """The loop's word that the peer is slow."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The loop's word that the peer caught up."""
        self._writable.set()
        owed, self._owed = self._owed, None
        if owed is not None and not self._parted:
            self._transport.write(wsframes.pong(owed))

    def connection_lost(self, exc: Exception | None) -> None:
        """The loop's word that it is over."""
        if self._timer is not None:
            self._timer.cancel()
        why = f"hung up: {exc}" if exc is not None else "hung up"
        self._gone.set()
        self._writable.set()
        if not self._upgraded.done():
            self._fail(Broken(f"it {why} before it answered"))
        self._end(Ended(wsframes.LOST, why))

    def _read_head(self) -> None:
        size = self._unheard.find(b"\r\n\r\n")
        if size < 0 and len(self._unheard) <= wsupgrade.MAX_HEAD_BYTES:
            return
        try:
            if not 0 <= size <= wsupgrade.MAX_HEAD_BYTES:
                raise Broken(f"got an answer with a head of more than {wsupgrade.MAX_HEAD_BYTES} bytes")
            wsupgrade.verify(bytes(self._unheard[:size]), self._key)
        except WebSocketError as refused:
            self._fail(refused)
            self._transport.abort()
            return
        del self._unheard[: size + 4]
        self._upgraded.set_result(None)
        self._transport.pause_reading()

    def _fail(self, why: WebSocketError) -> None:
        self._upgraded.set_exception(why)
        self._upgraded.exception()  # seen: nobody may wait any more, and that is no news for the log

    def _hear(self, data: bytes | bytearray) -> None:
        if self._on_text is None or self._is_over():
            return
        for event in self._frames.feed(data):
            match event:
                case wsframes.Text(data=text):
                    self._on_text(text)
                    if self._is_over():
                        return  # it was told to hang up
                case wsframes.Ping(data=asked):
                    self._answer(asked)
                case wsframes.Closed(code=code, said=said):
                    self._leave(Ended(code, f"hung up ({code}{said and ': ' + said})"))
                case wsframes.Violation(code=wsframes.TOO_BIG, said=said):
                    self._leave(Ended(wsframes.TOO_BIG, f"sent more than a frame may hold: {said}"))
                case wsframes.Violation(code=code, said=said):
                    self._leave(Ended(code, f"broke the WebSocket protocol: {said}"))

    def _answer(self, asked: bytes) -> None:
        """Of pings that come faster than pongs can leave, the last is answered: RFC 6455, 5.5.3."""
        if not self._writable.is_set():
            self._owed = asked
        elif not self._parted:
            self._transport.write(wsframes.pong(asked))

    def _beat(self) -> None:
        if not self._alive:
            self._end(Ended(wsframes.LOST, f"said nothing for {self._ping_s:g} s, not even to a ping"))
            self._transport.abort()
            return
        self._alive = False
        if not self._parted:
            self._transport.write(wsframes.ping())
        self._later(self._ping_s, self._beat)

    def _part(self, code: int) -> None:
        if not self._parted:
            self._parted = True
            if not self._transport.is_closing():
                self._transport.write(wsframes.close(code))

    def _leave(self, ended: Ended) -> None:
        """Say goodbye, and let the server be the first to go: who closes over unread bytes resets its own last word."""
        self._end(ended)
        self._part(ended.code)
        self._later(PARTING_S, self._transport.abort)

    def _later(self, after_s: float, do: Callable[[], None]) -> None:
        """One thing is to be done at a time: who leaves pings no more."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._gone.is_set():
            self._timer = asyncio.get_running_loop().call_later(after_s, do)

    def _is_over(self) -> bool:
        """Nothing more is to be heard."""
        return self._ended is not None

    def _end(self, ended: Ended) -> None:
        if self._ended is None:
            self._ended = ended
            if self._on_end is not None:
                self._on_end(ended)


def _tls() -> "SSLContext":
    import ssl  # a connection inside the cluster is plain: its NetworkPolicy and its signature guard it

    return ssl.create_default_context()
