"""The frames of the WebSocket client, held against the `websockets` library and against every way to break the rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side
from websockets.server import ServerProtocol

from aion.syscalls import wsframes
from aion.syscalls.wsframes import Closed, Ping, Pong, Reader, Text, Violation

MAX = 70_000


def from_server(*frames: tuple[Opcode, bytes, bool]) -> bytes:
    return b"".join(Frame(opcode, data, fin=fin).serialize(mask=False) for opcode, data, fin in frames)


def read(data: bytes, *, max_bytes: int = MAX) -> list[wsframes.Event]:
    return list(Reader(max_bytes=max_bytes).feed(data))


texts = st.one_of(st.text(max_size=300), st.sampled_from(["x" * n for n in (125, 126, 127, 65535, 65536, MAX)]))
small = st.binary(max_size=125)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[wsframes.Event]]:
    """What a server may send, in fragments with control frames between them, and what it means."""
    sent: list[tuple[Opcode, bytes, bool]] = []
    means: list[wsframes.Event] = []

    def control() -> None:
        data = draw(small)
        opcode, kind = draw(st.sampled_from([(Opcode.PING, Ping), (Opcode.PONG, Pong)]))
        sent.append((opcode, data, True))
        means.append(kind(data))

    for whole in draw(st.lists(texts.map(str.encode), max_size=4)):
        cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=3)))
        parts = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        for n, part in enumerate(parts):
            sent.append((Opcode.CONT if n else Opcode.TEXT, part, n == len(parts) - 1))
            if n < len(parts) - 1 and draw(st.booleans()):
                control()
        means.append(Text(whole))
    if draw(st.booleans()):
        said = draw(st.text(max_size=30))
        sent.append((Opcode.CLOSE, Close(1001, said).serialize(), True))
        means.append(Closed(1001, said))
        sent.append((Opcode.TEXT, b"too late", True))
    return from_server(*sent), means


@given(conversations(), st.data())
def test_the_same_bytes_mean_the_same_however_they_are_cut(conversation, data):
    stream, means = conversation
    assert read(stream) == means
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = Reader(max_bytes=MAX)
    got = [event for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) for event in reader.feed(stream[a:b])]
    assert got == means


def test_byte_by_byte_is_a_way_to_come_too():
    stream = from_server((Opcode.TEXT, b"one", False), (Opcode.PING, b"?", True), (Opcode.CONT, b"x" * 200, True))
    reader = Reader(max_bytes=MAX)
    assert [event for n in range(len(stream)) for event in reader.feed(stream[n : n + 1])] == [
        Ping(b"?"),
        Text(b"one" + b"x" * 200),
    ]


def heard_by_a_server(*frames: bytes) -> Protocol:
    server = ServerProtocol(state=OPEN, max_size=None)
    assert server.side is Side.SERVER  # which takes no frame that is not masked
    for frame in frames:
        server.receive_data(frame)
    return server


@given(st.lists(st.one_of(texts.map(str.encode), st.binary(max_size=200)), max_size=5))
def test_a_server_reads_what_we_write(messages):
    server = heard_by_a_server(*(wsframes.text(each) for each in messages))
    assert [(each.opcode, bytes(each.data), each.fin) for each in server.events_received()] == [
        (Opcode.TEXT, each, True) for each in messages
    ]
    assert server.parser_exc is None


@given(small)
def test_a_server_reads_our_pings_and_pongs(data):
    server = heard_by_a_server(wsframes.ping(data), wsframes.pong(data))
    assert [(each.opcode, bytes(each.data)) for each in server.events_received()] == [
        (Opcode.PING, data),
        (Opcode.PONG, data),
    ]


@given(st.sampled_from([1000, 1002, 1009, 3000, 4999]), st.text(max_size=200))
def test_a_server_reads_our_close_and_as_much_of_its_reason_as_fits_in_whole_characters(code, said):
    server = heard_by_a_server(wsframes.close(code, said))
    assert server.close_rcvd is not None
    assert server.close_rcvd.code == code
    assert said.startswith(server.close_rcvd.reason)
    assert len(server.close_rcvd.reason.encode()) > min(len(said.encode()), 123) - 4


def test_a_close_without_a_status_is_sent_as_one():
    server = heard_by_a_server(wsframes.close(wsframes.NO_STATUS))
    assert server.close_rcvd == Close(1005, "")


def test_no_two_frames_are_masked_alike():
    assert len({wsframes.text(b"\0" * 100) for _ in range(50)}) == 50


BROKEN = {
    "a masked frame": (Frame(Opcode.TEXT, b"x").serialize(mask=True), 1002),
    "the first reserved bit": (b"\xc1\x01x", 1002),
    "the second reserved bit": (b"\xa1\x01x", 1002),
    "the third reserved bit": (b"\x91\x01x", 1002),
    **{f"opcode {n}": (bytes((0x80 | n, 0)), 1002) for n in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "binary": (b"\x82\x01x", 1003),
    "a ping in fragments": (b"\x09\x00", 1002),
    "a pong in fragments": (b"\x0a\x00", 1002),
    "a close in fragments": (b"\x08\x00", 1002),
    "a long ping": (b"\x89\x7e\x00\x7e" + b"x" * 126, 1002),
    "a long close": (b"\x88\x7e\x00\x7e\x03\xe8" + b"x" * 124, 1002),
    "a continuation of nothing": (b"\x80\x01x", 1002),
    "a message within another": (b"\x01\x01a\x81\x01b", 1002),
    "a length of two bytes for one": (b"\x81\x7e\x00\x7d" + b"x" * 125, 1002),
    "a length of eight bytes for two": (b"\x81\x7f" + (65535).to_bytes(8, "big"), 1002),
    "a negative length": (b"\x81\x7f\x80" + bytes(7), 1002),
    "half a close code": (b"\x88\x01\x03", 1002),
    **{f"close code {n}": (b"\x88\x02" + n.to_bytes(2, "big"), 1002) for n in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000)},
    "more than the limit": (b"\x81\x7f" + (MAX + 1).to_bytes(8, "big"), 1009),
    "more than the limit in two": (from_server((Opcode.TEXT, b"x" * MAX, False), (Opcode.CONT, b"x", True)), 1009),
    "text that is no UTF-8": (b"\x81\x01\xff", 1007),
    "half a character": (from_server((Opcode.TEXT, b"\xc3", False), (Opcode.CONT, b"", True)), 1007),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_rules_is_the_last_that_is_read(name):
    stream, code = BROKEN[name]
    reader = Reader(max_bytes=MAX)
    events = list(reader.feed(from_server((Opcode.TEXT, b"before", True)) + stream + b"\x81\x05after"))
    assert (events[0], len(events)) == (Text(b"before"), 2)
    assert isinstance(events[1], Violation)
    assert (events[1].code, events[1].said[:4]) == (code, "got ")
    assert list(reader.feed(b"\x81\x05after")) == []


def test_a_continuation_after_the_last_fragment_continues_nothing():
    events = read(b"\x01\x01a\x80\x01b\x80\x01c")
    assert events == [Text(b"ab"), Violation(1002, "got a continuation of nothing")]


def test_a_frame_that_is_too_long_is_refused_by_its_head_and_not_when_it_is_here():
    assert isinstance(read(b"\x81\x7f" + (1 << 40).to_bytes(8, "big"))[0], Violation)


def test_a_character_may_be_cut_in_two_by_fragments():
    assert read(from_server((Opcode.TEXT, b"\xc3", False), (Opcode.CONT, b"\xbc", True))) == [Text("ü".encode())]


def test_a_close_may_say_nothing_at_all():
    assert read(b"\x88\x00") == [Closed(1005, "")]
