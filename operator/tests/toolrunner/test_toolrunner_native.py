"""A native tool answers by the exec server's frames; one that misbehaves ends alone, by its own error."""

import asyncio
import contextlib
import json
import struct
import time
from contextlib import asynccontextmanager

import pytest

from aion.toolrunner import errors, native
from aion.toolrunner.engine import Invocation


def frame(kind, payload):
    return kind + struct.pack("<I", len(payload)) + payload


def ended(status):
    return frame(b"x", struct.pack("<i", status))


@asynccontextmanager
async def server(folder, answer):
    """A stand-in for `aion-launch --serve`: `answer(document, writer)`; records when a caller closes early."""
    closed = asyncio.Event()

    async def serve(reader, writer):
        (length,) = struct.unpack("<I", await reader.readexactly(4))
        document = json.loads(await reader.readexactly(length))
        try:
            await answer(document, writer)
            await writer.drain()
            await reader.read()
        except ConnectionError:
            pass
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        closed.set()

    listening = await asyncio.start_unix_server(serve, folder / "tool.sock")
    try:
        yield native.Native(native.Served(folder / "tool.sock")), closed
        await asyncio.wait_for(closed.wait(), 2)
        await asyncio.sleep(0)
    finally:
        listening.close()
        await listening.wait_closed()


async def nobody(name, params):
    raise AssertionError(name)


def call(engine, timeout_ms=2000):
    return engine.call(Invocation({"text": "a b"}, {}, timeout_ms), nobody)


async def test_the_document_goes_in_and_the_result_comes_out_of_several_frames(tmp_path):
    async def answer(document, writer):
        text = json.dumps({"result": {"got": document}}).encode()
        writer.write(frame(b"o", text[:5]) + frame(b"e", b"noise") + frame(b"o", text[5:]) + ended(0))

    async with server(tmp_path, answer) as (engine, _):
        await engine.load()
        assert await call(engine) == {"got": {"params": {"text": "a b"}, "config": {}}}


@pytest.mark.parametrize(
    ("frames", "code", "says"),
    [
        (frame(b"o", b"rubbish") + ended(0), "E_UPSTREAM", "not one JSON document"),
        (frame(b"e", b"boom") + ended(3), "E_UPSTREAM", "exited with status 3"),
        (ended(-11), "E_UPSTREAM", "ended by signal 11"),
        (frame(b"o", b'{"error":{"code":"E_PARAMS","message":"bad day"}}') + ended(1), "E_PARAMS", "bad day"),
        (b"o" + struct.pack("<I", 1 << 30), "E_UPSTREAM", "another protocol"),
        (b"", "E_TIMEOUT", "was killed"),
    ],
)
async def test_a_failing_tool_is_named(tmp_path, frames, code, says):
    async def answer(document, writer):
        writer.write(frames)

    async with server(tmp_path, answer) as (engine, _):
        with pytest.raises(errors.CallFailed, match=says) as failed:
            await call(engine, timeout_ms=300)
        assert failed.value.code == code


async def test_a_flood_closes_the_connection_and_is_too_large(tmp_path):
    async def answer(document, writer):
        while True:
            writer.write(frame(b"o", b"x" * 65536))
            await writer.drain()

    async with server(tmp_path, answer) as (engine, closed):
        with pytest.raises(errors.TooMuch, match="was killed"):
            await call(engine)
        await asyncio.wait_for(closed.wait(), 1)


async def test_a_hanging_tool_is_closed_at_its_timeout_and_a_cancelled_one_at_once(tmp_path):
    async def answer(document, writer):
        await asyncio.sleep(0)

    async with server(tmp_path, answer) as (engine, closed):
        task = asyncio.create_task(call(engine, timeout_ms=30_000))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        task.cancel()
        await asyncio.wait_for(closed.wait(), 1)
        assert time.monotonic() - began < 0.5
        with pytest.raises(asyncio.CancelledError):
            await task
