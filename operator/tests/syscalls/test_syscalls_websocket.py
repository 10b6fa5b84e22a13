"""The WebSocket client against real servers, on both event loops: what it says, what it bears, and when it lets go."""

import asyncio
import contextlib
import socket as sockets
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from aion.syscalls import websocket, wsupgrade
from aion.syscalls.websocket import Broken, Ended, Refused, Socket

MAX = 1 << 20
UNVOUCHED = Path(__file__).parent / "unvouched.pem"


class Ear:
    """Hears what a socket hears."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.texts: asyncio.Queue[bytes] = asyncio.Queue()
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        socket.listen(self.texts.put_nowait, self.ended.set_result)

    async def next(self) -> bytes:
        async with asyncio.timeout(3):
            return await self.texts.get()

    async def end(self) -> Ended:
        async with asyncio.timeout(3):
            return await asyncio.shield(self.ended)


async def dial(url: str, *, ping_s: float = 20, **headers: str) -> Socket:
    async with asyncio.timeout(3):
        return await websocket.connect(url, headers=headers, max_bytes=MAX, ping_s=ping_s)


@asynccontextmanager
async def listening(url: str, **options: Any) -> AsyncIterator[Ear]:
    socket = await dial(url, **options)
    try:
        yield Ear(socket)
    finally:
        await socket.close()


async def echoes(peer: ServerConnection) -> None:
    async for message in peer:
        await peer.send(message)


@asynccontextmanager
async def server(act: Callable[[ServerConnection], Awaitable[None]] = echoes, **options: Any) -> AsyncIterator[str]:
    """The `websockets` library's, without compression, for there is none on our side."""
    async with serve(act, "127.0.0.1", 0, max_size=None, close_timeout=0.2, compression=None, **options) as made:
        yield f"http://127.0.0.1:{next(iter(made.sockets)).getsockname()[1]}/v1/x?y=z"


Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def rude(act: Peer) -> AsyncIterator[str]:
    """A server that says what a test wants, byte by byte. It is told the request's head."""
    doing: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        doing.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            await act(reader, writer)
        writer.transport.abort()

    made = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{made.sockets[0].getsockname()[1]}/"
    finally:
        made.close()
        for task in doing:
            task.cancel()
        await asyncio.gather(*doing, return_exceptions=True)


async def accepted(reader: asyncio.StreamReader, then: bytes = b"") -> bytes:
    """The answer to an upgrade, with what follows in the same packet."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = next(line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Key"))
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_of(key)}\r\n\r\n"
    ).encode() + then


def accept_of(key: str) -> str:
    from websockets.utils import accept_key

    return accept_key(key)


def frame(data: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    return Frame(opcode, data).serialize(mask=False)


async def test_what_is_sent_comes_back_in_its_order_and_size():
    async with server() as url, listening(url) as ear:
        sent = [b"", "grüß Gott".encode(), b"x" * 126, b"y" * 65536, b"z" * MAX]
        for each in sent:
            await ear.socket.send(each)
        assert [await ear.next() for _ in sent] == sent


async def test_the_request_is_what_the_caller_gave():
    seen: list[Any] = []

    async def looks(peer: ServerConnection) -> None:
        seen.append((peer.request.path, peer.request.headers["Authorization"], peer.request.headers["Host"]))

    async with server(looks) as url, listening(url, Authorization="Bearer t") as ear:
        await ear.end()
    assert seen == [("/v1/x?y=z", "Bearer t", url.split("/")[2])]


async def test_a_refusal_says_its_status():
    def refuses(peer: ServerConnection, _request: object) -> Any:
        return peer.respond(HTTPStatus.UNAUTHORIZED, "who are you?")

    async with server(process_request=refuses) as url:
        with pytest.raises(Refused) as refused:
            await dial(url)
    assert (refused.value.status, str(refused.value)) == (401, "refused with HTTP 401")


ANSWERS = [
    (b"", "before it answered"),
    (b"HTTP/1.1 101 Switching", "before it answered"),
    (b"SSH-2.0-OpenSSH\r\n\r\n", "expected an answer of HTTP/1.1"),
    (b"HTTP/1.1 1x1 What\r\n\r\n", "expected an answer of HTTP/1.1"),
    (b"HTTP/1.1 101 Well\r\n\r\n", "something else"),
    (b"HTTP/1.1 101 Well\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "something else"),
    (b"HTTP/1.1 101 Well\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n", "something else"),
    (b"HTTP/1.1 101 Well\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "another key"),
    (b"HTTP/1.1 101 Well\r\nX: " + b"x" * wsupgrade.MAX_HEAD_BYTES, "a head of more than 16384 bytes"),
    (b"HTTP/1.1 101 Well\r\nX: " + b"x" * wsupgrade.MAX_HEAD_BYTES + b"\r\n\r\n", "a head of more than 16384 bytes"),
]


@pytest.mark.parametrize(("answer", "says"), ANSWERS, ids=range(len(ANSWERS)))
async def test_an_answer_that_proves_nothing_is_no_websocket(answer, says):
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.write_eof()
        await reader.read()

    async with rude(answers) as url:
        with pytest.raises(Broken, match=says) as broken:
            await dial(url)
    assert not broken.value.sent


@pytest.mark.parametrize("header", ["Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: chat"])
async def test_an_extension_that_nobody_asked_for_is_refused(header):
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await accepted(reader)).replace(b"\r\n\r\n", f"\r\n{header}\r\n\r\n".encode()))
        await reader.read()

    async with rude(answers) as url:
        with pytest.raises(Broken, match="not asked for"):
            await dial(url)


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1/", "http:///x", "http://127.0.0.1:99999/", "http://127.0.0.1/ä", "http://127.0.0.1/a b", ""]
)
async def test_a_url_that_cannot_be_dialled_is_named(url):
    with pytest.raises(Broken, match="got "):
        await dial(url)


async def test_a_header_can_never_become_two():
    for name, value in (("A", "x\r\nB: y"), ("A\n", "x"), ("A", "ä")):
        with pytest.raises(Broken, match="characters that no header may"):
            await dial("http://127.0.0.1:9/", **{name: value})


async def test_a_port_where_nobody_listens_is_broken_at_once():
    with pytest.raises(Broken, match=r"(?i)refused|connect call failed"):
        await dial("http://127.0.0.1:9/")
    with pytest.raises(Broken):
        await dial(f"http://{'x' * 70}.invalid/")


async def test_https_is_spoken_with_whom_the_system_vouches_for_and_with_nobody_else(monkeypatch):
    certified = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certified.load_cert_chain(UNVOUCHED)
    async with server(ssl=certified) as plain:
        url = plain.replace("http:", "https:")
        with pytest.raises(Broken, match="CERTIFICATE_VERIFY_FAILED"):
            await dial(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(UNVOUCHED))
        async with listening(url) as ear:
            await ear.socket.send(b"x" * MAX)
            assert await ear.next() == b"x" * MAX


async def test_what_comes_with_the_answer_waits_until_somebody_listens():
    async def eager(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await accepted(reader, frame(b"one") + frame(b"two")[:3]))
        await asyncio.sleep(0.02)
        writer.write(frame(b"two")[3:])
        await reader.read(1)

    async with rude(eager) as url:
        socket = await dial(url)
        await asyncio.sleep(0.05)
        ear = Ear(socket)
        assert [await ear.next(), await ear.next()] == [b"one", b"two"]
        await socket.close()


async def test_a_dial_that_is_given_up_leaves_no_connection_behind():
    gone = asyncio.Event()

    async def says_nothing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await reader.read()
        finally:
            gone.set()

    async with rude(says_nothing) as url:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await dial(url)
        async with asyncio.timeout(1):
            await gone.wait()


@pytest.mark.parametrize(("code", "why"), [(1001, "hung up (1001: going away)"), (4000, "hung up (4000: going away)")])
async def test_the_peers_close_code_and_reason_are_told_and_its_goodbye_is_answered(code, why):
    answered: list[int] = []

    async def leaves(peer: ServerConnection) -> None:
        await peer.close(code, "going away")
        answered.append(peer.protocol.close_rcvd.code)

    async with server(leaves) as url, listening(url) as ear:
        assert await ear.end() == Ended(code, why)
        with pytest.raises(Broken) as broken:
            await ear.socket.send(b"x")
        assert not broken.value.sent
    assert answered == [code]


async def test_a_peer_that_dies_without_a_word_is_told_as_lost():
    async def dies(peer: ServerConnection) -> None:
        await peer.recv()
        peer.transport.abort()

    async with server(dies) as url, listening(url) as ear:
        await ear.socket.send(b"x")
        ended = await ear.end()
    assert (ended.code, ended.why[:7]) == (1006, "hung up")


async def test_our_goodbye_reaches_the_peer():
    codes: list[int] = []

    async def waits(peer: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await peer.recv()
        codes.append(peer.protocol.close_rcvd.code)

    async with server(waits) as url:
        began = time.monotonic()
        async with listening(url) as ear:
            pass
        assert time.monotonic() - began < 0.5
        assert await ear.end() == Ended(1000, "hung up (1000)")
        await ear.socket.close()
    assert codes == [1000]


async def test_a_peer_that_does_not_say_goodbye_is_left_after_a_second():
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await accepted(reader))
        await asyncio.sleep(60)

    async with rude(deaf) as url:
        socket = await dial(url)
        began = time.monotonic()
        await socket.close()
        assert 0.9 < time.monotonic() - began < 1.5


async def test_closing_can_be_cancelled_and_still_closes():
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await accepted(reader))
        await asyncio.sleep(60)

    async with rude(deaf) as url:
        ear = Ear(await dial(url))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ear.socket.close()
        assert (await ear.end()).code == 1006


async def test_a_ping_is_answered_with_its_own_data():
    async def pings(peer: ServerConnection) -> None:
        await asyncio.wait_for(await peer.ping(b"are you there?"), 2)
        await peer.send("yes")

    async with server(pings) as url, listening(url) as ear:
        assert await ear.next() == b"yes"


async def test_a_peer_that_is_quiet_but_alive_is_kept():
    async with server() as url, listening(url, ping_s=0.03) as ear:
        await asyncio.sleep(0.2)
        await ear.socket.send(b"still here")
        assert await ear.next() == b"still here"


async def test_a_peer_that_does_not_even_answer_a_ping_is_given_up():
    async def freezes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await accepted(reader))
        await asyncio.sleep(60)

    async with rude(freezes) as url, listening(url, ping_s=0.05) as ear:
        assert await ear.end() == Ended(1006, "said nothing for 0.05 s, not even to a ping")


BAD_FRAMES = [
    (b"\x82\x01x", 1003, "broke the WebSocket protocol: got a binary message, expected text"),
    (b"\xc1\x01x", 1002, "broke the WebSocket protocol: got a reserved bit, expected no extension, for none was agreed"),
    (frame(b"x" * (MAX + 1)), 1009, f"sent more than a frame may hold: got a message of {MAX + 1} bytes or more, expected at most {MAX}"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "code", "why"), BAD_FRAMES, ids=range(len(BAD_FRAMES)))
async def test_a_peer_that_breaks_the_rules_is_told_by_code_and_left(bad, code, why):
    said: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await accepted(reader, frame(b"before") + bad + frame(b"after")))
        head, key = await reader.readexactly(2), await reader.readexactly(4)
        payload = await reader.readexactly(head[1] & 0x7F)
        said.set_result(bytes((head[0],)) + bytes(each ^ key[n % 4] for n, each in enumerate(payload)))

    async with rude(breaks) as url, listening(url) as ear:
        assert await ear.next() == b"before"
        assert await ear.end() == Ended(code, why)
        assert ear.texts.empty()
        assert await asyncio.wait_for(said, 2) == b"\x88" + code.to_bytes(2, "big")


async def test_a_peer_that_broke_the_rules_and_stays_is_cut_off_though_nobody_closes(monkeypatch):
    monkeypatch.setattr(websocket, "PARTING_S", 0.05)
    cut: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def stays(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await accepted(reader, b"\xc1\x01x"))
        with contextlib.suppress(ConnectionError):
            while await reader.read(100):
                pass
        cut.set_result(None)

    async with rude(stays) as url:
        ear = Ear(await dial(url))
        assert (await ear.end()).code == 1002
        await asyncio.wait_for(cut, 2)


async def test_who_hears_nonsense_can_hang_up_and_hears_nothing_more():
    async def floods(peer: ServerConnection) -> None:
        peer.transport.write(frame(b"nonsense") * 3)
        await peer.wait_closed()

    heard: list[bytes] = []
    async with server(floods) as url:
        socket = await dial(url)
        ended: list[Ended] = []
        socket.listen(lambda text: (heard.append(text), socket.hang_up("speaks nonsense")), ended.append)
        await asyncio.sleep(0.1)
        await socket.close()
    assert heard == [b"nonsense"]
    assert ended == [Ended(1002, "speaks nonsense")]


@asynccontextmanager
async def unread() -> AsyncIterator[tuple[str, list[asyncio.StreamWriter], asyncio.Event]]:
    """A peer that reads nothing until the event is set; then everything."""
    read, writers = asyncio.Event(), []

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await accepted(reader))
        await writer.drain()
        writers.append(writer)
        writer.transport.pause_reading()
        await read.wait()
        writer.transport.resume_reading()
        while await reader.read(1 << 16):
            pass

    async with rude(slow) as url:
        yield url, writers, read


async def test_who_sends_to_a_slow_reader_waits_for_it():
    async with unread() as (url, writers, read), listening(url) as ear:
        sending = [asyncio.create_task(ear.socket.send(b"x" * MAX)) for _ in range(16)]
        await asyncio.sleep(0.1)
        assert not sending[-1].done()
        read.set()
        async with asyncio.timeout(3):
            await asyncio.gather(*sending)
        writers[0].transport.abort()


async def test_a_message_that_was_on_its_way_when_the_connection_broke_counts_as_sent():
    async with unread() as (url, writers, _), listening(url) as ear:
        sending = [asyncio.create_task(ear.socket.send(b"x" * MAX)) for _ in range(16)]
        await asyncio.sleep(0.05)
        sending[-1].cancel()
        raw = writers[0].get_extra_info("socket")
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        writers[0].transport.abort()
        outcomes = await asyncio.gather(*sending, return_exceptions=True)
        assert isinstance(outcomes.pop(), asyncio.CancelledError)
        broken = [each for each in outcomes if isinstance(each, Broken)]
        assert broken
        assert all(each.sent for each in broken)
        with pytest.raises(Broken) as unsent:
            await ear.socket.send(b"x")
        assert not unsent.value.sent


async def test_pings_that_come_faster_than_pongs_can_leave_are_answered_by_the_last_alone():
    heard: list[bytes] = []

    async def pings(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await accepted(reader))
        writer.transport.pause_reading()
        await asyncio.sleep(0.1)  # until our writes are stuck
        for n in range(1000):
            writer.write(frame(str(n).encode(), Opcode.PING))
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.transport.resume_reading()
        while True:
            first, length = await reader.readexactly(2)
            if (length & 0x7F) == 127:
                await reader.readexactly(8 + 4 + MAX)
            else:
                key, data = await reader.readexactly(4), await reader.readexactly(length & 0x7F)
                heard.append(bytes(each ^ key[n % 4] for n, each in enumerate(data)))
                assert first == 0x8A
                writer.write(frame(b"done"))

    async with rude(pings) as url, listening(url) as ear:
        sending = [asyncio.create_task(ear.socket.send(b"x" * MAX)) for _ in range(16)]
        assert await ear.next() == b"done"
        await asyncio.gather(*sending)
    assert heard[:1] == [b"999"]
