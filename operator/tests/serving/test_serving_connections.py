"""Strangers at a listener: slow ones, endless ones, many at once, and those that leave in the middle."""

import asyncio
import json
import resource
import socket

import pytest
from serving_stage import get, stage

from aion.serving.limits import Limits


def refusal(answer):
    status, headers, body = answer
    assert headers["connection"] == "close"
    return status, json.loads(body)["error"]["code"], json.loads(body)["error"]["message"]


async def test_a_head_that_comes_byte_by_byte_is_given_up():
    async with stage() as at:
        wire = await at.wire()
        trickle = asyncio.create_task(drip(wire, b"GET / HTTP/1.1\r\nHost: here\r\nX: " + b"y" * 1000))
        status, code, said = refusal(await wire.answer())
        trickle.cancel()
        assert (status, code) == (400, "E_BAD_REQUEST")
        assert "head was not whole within 0.15 s" in said
        assert at.app.asked == []


async def drip(wire, sent):
    for byte in sent:
        await wire.say(bytes([byte]))
        await asyncio.sleep(0.01)


async def test_a_body_that_comes_too_slowly_ends_the_request_and_the_app_hears_of_it():
    async with stage() as at:
        wire = await at.wire(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\nabc")
        status, _, said = refusal(await wire.answer())
        assert status == 400
        assert "body was not whole" in said
        assert await wire.ended() == b""
        await asyncio.wait_for(at.app.left.wait(), 1)


async def test_chunks_without_end_are_not_read_for_ever_even_where_nobody_reads_them():
    async with stage() as at:
        wire = await at.wire(b"POST /deaf HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await wire.answer())[0] == 200
        flood = asyncio.create_task(endless(wire))
        await wire.ended()
        assert await asyncio.wait_for(flood, 3) == "cut"
        assert not at.connections


async def endless(wire):
    try:
        while True:
            await wire.say(b"1\r\nx\r\n")
            await asyncio.sleep(0.001)
    except ConnectionError:
        return "cut"


async def test_line_breaks_without_a_request_keep_no_connection_open():
    async with stage(idle_s=0.15) as at:
        wire = await at.wire()
        blanks = asyncio.create_task(drip(wire, b"\r\n" * 500))
        assert await wire.ended() == b""
        blanks.cancel()
        assert not at.connections


async def test_a_connection_that_says_nothing_ends_and_one_between_requests_too():
    async with stage(idle_s=0.15) as at:
        silent, served = await at.wire(), await at.wire(get())
        assert (await served.answer())[0] == 200
        assert (await silent.ended(), await served.ended()) == (b"", b"")
        assert not at.connections


async def test_a_request_under_way_outlasts_every_deadline_of_reading():
    async with stage(idle_s=0.1) as at:
        wire = await at.wire(get("/hold"))
        await asyncio.sleep(0.4)
        at.app.held.set()
        assert (await wire.answer())[0] == 200


async def test_a_second_request_that_came_while_the_first_was_served_is_not_cut_by_the_idle_time():
    async with stage(idle_s=0.1) as at:
        wire = await at.wire(get("/first") + get("/hold"))
        assert (await wire.answer())[0] == 200
        await asyncio.sleep(0.3)
        at.app.held.set()
        assert (await wire.answer())[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        get("/" + "p" * 3000),
        get("/", "X: " + "y" * 3000),
        get("/", *(f"X-{n}: 1" for n in range(30))),
    ],
)
async def test_a_head_beyond_its_size_is_refused(head):
    async with stage() as at:
        wire = await at.wire(head)
        assert refusal(await wire.answer())[:2] == (400, "E_BAD_REQUEST")
        assert at.app.asked == []


async def test_a_header_without_end_is_refused_before_its_deadline():
    async with stage(head_s=60.0) as at:
        wire = await at.wire(b"GET / HTTP/1.1\r\nX: ")
        flood = asyncio.create_task(without_end(wire))
        assert "larger than 2048 bytes" in refusal(await wire.answer())[2]
        await asyncio.wait_for(flood, 3)


async def without_end(wire):
    try:
        while True:
            await wire.say(b"y" * 500)
            await asyncio.sleep(0.001)
    except ConnectionError:
        return


async def test_two_thousand_idle_connections_keep_nobody_out():
    async with stage(Limits(connections=200)) as at:
        busy = await at.wire(get("/hold"))
        while not at.app.asked:
            await asyncio.sleep(0.01)
        idle = []
        for _ in range(2000):
            idle.append(socket.create_connection(("127.0.0.1", at.port)))  # taken by the backlog at once
            if len(idle) % 100 == 0:
                async with asyncio.timeout(2):
                    await asyncio.sleep(0.01)
                    while len(at.connections) > 200:  # those that go are gone in the next turn of the loop
                        await asyncio.sleep(0.01)
        newcomer = await at.wire(get())
        assert (await newcomer.answer())[0] == 200
        at.app.held.set()
        assert (await busy.answer())[0] == 200
        for each in idle:
            each.close()


async def test_half_sent_heads_keep_nobody_out_either():
    async with stage(Limits(connections=20)) as at:
        for _ in range(100):
            await at.wire(b"GET / HTTP/1.1\r\nX-")
        assert (await (await at.wire(get())).answer())[0] == 200
        assert len(at.connections) <= 21


async def test_where_every_connection_is_at_work_a_newcomer_is_told_to_come_back():
    async with stage(Limits(connections=3)) as at:
        held = [await at.wire(get("/hold")) for _ in range(3)]
        while len(at.app.asked) < 3:
            await asyncio.sleep(0.01)
        answer = await (await at.wire()).answer()
        assert refusal(answer)[:2] == (429, "E_BUSY")
        assert answer[1]["retry-after"] == "1"
        at.app.held.set()
        assert [(await wire.answer())[0] for wire in held] == [200] * 3
        assert (await (await at.wire(get())).answer())[0] == 200


async def test_a_caller_that_leaves_in_mid_request_or_mid_stream_leaves_nothing_behind():
    async with stage(body_s=5.0) as at:
        for sent in (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc", get("/pieces"), b"GET / HT"):
            at.app.left.clear()
            wire = await at.wire(sent)
            await asyncio.sleep(0.05)
            wire.writer.transport.abort()
            if sent != b"GET / HT":
                await asyncio.wait_for(at.app.left.wait(), 2)
        async with asyncio.timeout(2):
            while at.connections:
                await asyncio.sleep(0.01)


async def test_a_reader_that_stopped_reading_is_cut():
    async with stage(stalled_s=0.2) as at:
        wire = await at.wire(get("/pieces"))
        wire.writer.transport.pause_reading()
        await asyncio.wait_for(at.app.left.wait(), 3)
        assert not at.connections


async def test_an_ending_server_lets_the_request_under_way_end_and_closes_what_is_idle():
    async with stage() as at:
        idle, busy = await at.wire(get()), await at.wire(get("/hold"))
        assert (await idle.answer())[0] == 200
        while "/hold" not in at.app.asked:
            await asyncio.sleep(0.01)
        ending = asyncio.create_task(at.server.close(within_s=3))
        assert await idle.ended() == b""
        at.app.held.set()
        status, headers, _ = await busy.answer()
        assert (status, headers["connection"]) == (200, "close")
        await asyncio.wait_for(ending, 1)


async def test_a_retiring_server_serves_on_and_sends_every_caller_elsewhere():
    async with stage() as at:
        before, busy = await at.wire(get()), await at.wire(get("/hold"))
        assert "connection" not in (await before.answer())[1]
        while "/hold" not in at.app.asked:
            await asyncio.sleep(0.01)
        at.server.retire()
        at.app.held.set()
        await before.say(get())
        for wire in (before, busy, await at.wire(get())):
            status, headers, _ = await wire.answer()
            assert (status, headers["connection"]) == (200, "close")


def test_there_are_never_more_connections_than_descriptors_for_them():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        assert Limits(connections=8192).fitting() == 768
        assert Limits(connections=100).fitting() == 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
