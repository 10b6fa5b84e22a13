"""Bodies on their way in: how much of one, and of all together."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_scene import scene

from aion.api import errors
from aion.kernel import intake
from aion.kernel.intake import Room


def sending(*parts, ends=True):
    """A caller's body, piece by piece."""
    left = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if ends:
        left[-1]["more_body"] = False
    else:
        left.append({"type": "http.disconnect"})

    async def receive():
        return left.pop(0)

    return receive


@given(
    st.lists(st.binary(max_size=50), min_size=1, max_size=10), st.integers(0, 200), st.booleans(), st.integers(0, 300)
)
def test_whatever_a_body_is_and_however_it_ends_its_room_is_given_back(parts, limit, ends, most):
    room = Room(most)
    try:
        body = asyncio.run(intake.whole({"headers": []}, sending(*parts, ends=ends), limit=limit, room=room))
        assert body == b"".join(parts)
        assert len(body) <= min(limit, most)
    except errors.SyscallError:
        assert not ends or sum(map(len, parts)) > min(limit, most)
    assert room.taken == 0


def test_large_bodies_leave_half_of_the_room_to_small_ones():
    room = Room(400 << 10)
    room.take(150 << 10, of=150 << 10)
    with pytest.raises(errors.Busy) as refused:
        room.take(60 << 10, of=210 << 10)
    assert refused.value.retry_after_ms
    for _ in range(4):
        room.take(60 << 10, of=60 << 10)
    with pytest.raises(errors.Busy):
        room.take(60 << 10, of=60 << 10)


async def test_many_half_sent_bodies_of_strangers_do_not_fill_the_process(monkeypatch):
    monkeypatch.setattr(intake._room, "most", 600 << 10)
    head = b"POST /v1/syscall/tool.invoke HTTP/1.1\r\nHost: k\r\nContent-Length: 200000\r\n\r\n"
    async with scene() as stage:
        wires = []
        for _ in range(6):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(stage.url.rpartition(":")[2]))
            wires.append((reader, writer))
            writer.write(head + b"x" * 100_000)
            await writer.drain()
        async with asyncio.timeout(3):
            done, _ = await asyncio.wait(
                [asyncio.create_task(reader.readuntil(b"\r\n\r\n")) for reader, _ in wires],
                return_when=asyncio.FIRST_COMPLETED,
            )
        assert next(iter(done)).result().startswith(b"HTTP/1.1 429")
        assert intake._room.taken <= 300 << 10
        assert (await stage.outsider.syscall("tool.invoke", {"tool": "echo", "text": "x"}))[0] == 200
        for _, writer in wires:
            writer.transport.abort()
        async with asyncio.timeout(2):
            while intake._room.taken:
                await asyncio.sleep(0.01)


async def test_a_body_that_is_refused_for_its_size_says_so_before_it_is_sent():
    async with scene() as stage:
        status, answer = await stage.outsider.ask("POST", "/v1/agent/register", b"x" * (300 << 10))
        assert (status, answer["error"]["code"]) == (400, "E_BAD_REQUEST")
