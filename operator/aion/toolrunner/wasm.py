"""The engine of `wasm:` entries: compiled once, a fresh instance a call, calls side by side in threads.

It stands apart from the instance because it knows the loop: deadlines, cancels and nested syscalls are here. It must
never leave a seat to the next call while a timer could still stop it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Awaitable, Callable

import orjson

from aion.api import toolcall
from aion.toolrunner import errors
from aion.toolrunner.engine import Document, Invocation, Syscall, result_of
from aion.toolrunner.instance import Seat, compiled

FUEL = 20_000_000_000
"""Units a call may spend, one an instruction: some ten seconds of a core. The backstop should the loop starve."""

SEATS = toolcall.MAX_IN_FLIGHT
"""A call waiting for its nested syscall holds its seat and its thread."""


class Wasm:
    """Runs a WebAssembly module's calls."""

    def __init__(self, fetch: Callable[[], Awaitable[bytes]], *, memory_mb: int, fuel: int = FUEL) -> None:
        self._fetch = fetch
        self._memory_bytes = memory_mb << 20
        self._fuel = fuel
        self._image = -1
        self._free: list[Seat] = []
        self._making = threading.Lock()
        self._threads = concurrent.futures.ThreadPoolExecutor(SEATS, "wasm")

    async def load(self) -> None:
        """Fetch and compile the module once, and prove that it can be linked."""
        binary = await self._fetch()
        loop = asyncio.get_running_loop()
        self._image = await loop.run_in_executor(self._threads, _image, binary)
        self._free.append(await loop.run_in_executor(self._threads, self._seat))

    async def call(self, invocation: Invocation, syscall: Syscall) -> Document:
        """Run the tool in a thread; its nested syscalls hop back to this loop."""
        loop = asyncio.get_running_loop()
        seat = self._free.pop() if self._free else await loop.run_in_executor(self._threads, self._seat)
        door = _Door(syscall, loop)

        def stop(why: errors.CallFailed) -> None:
            seat.stop(why)
            door.shut()

        late = errors.TooSlow(f"the tool did not answer within {invocation.timeout_ms} ms")
        timer = loop.call_later(invocation.timeout_ms / 1000, stop, late)
        work = loop.run_in_executor(self._threads, seat.run, invocation.document(), door.ask)

        def leave(done: asyncio.Future[bytes]) -> None:
            timer.cancel()
            seat.rest()
            self._free.append(seat)
            if not done.cancelled():
                done.exception()  # looked at, also where nobody waits any more

        work.add_done_callback(leave)
        try:
            output = await asyncio.shield(work)
        except asyncio.CancelledError:
            stop(errors.TooSlow("the call was cancelled"))
            raise
        return result_of(output)

    async def close(self) -> None:
        """Stop taking calls; those that still run end at their own deadline."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._image >= 0:
            os.close(self._image)
            self._image = -1

    def _seat(self) -> Seat:
        with self._making:  # wasmtime-py's table of host functions is one for all threads
            return Seat(f"/proc/self/fd/{self._image}", memory_bytes=self._memory_bytes, fuel=self._fuel)


def _image(binary: bytes) -> int:
    """Compile into a file in memory: every seat maps the same pages of code, and nobody else can write it."""
    code = compiled(binary)
    image = os.memfd_create("tool", os.MFD_CLOEXEC)
    with os.fdopen(image, "wb", closefd=False) as file:
        file.write(code)
    return image


class _Door:
    """A call's nested syscalls, asked on its thread and answered on the loop."""

    def __init__(self, syscall: Syscall, loop: asyncio.AbstractEventLoop) -> None:
        self._syscall = syscall
        self._loop = loop
        self._shut = False
        self._waiting: concurrent.futures.Future[bytes] | None = None

    def ask(self, request: bytes) -> bytes:
        waiting = self._waiting = asyncio.run_coroutine_threadsafe(self._nested(request), self._loop)
        if self._shut:
            waiting.cancel()
        try:
            return waiting.result()
        except concurrent.futures.CancelledError:
            raise errors.TooSlow("the call ended while it waited for a syscall") from None

    def shut(self) -> None:
        self._shut = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def _nested(self, request: bytes) -> bytes:
        try:
            asked = orjson.loads(request)
            name, params = asked["syscall"], asked.get("params", {})
        except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError):
            name = params = None
        if not isinstance(name, str) or not isinstance(params, dict):
            refusal = {"code": "E_BAD_REQUEST", "message": 'a nested syscall is {"syscall": text, "params": object}'}
            return orjson.dumps({"status": "error", "error": refusal})
        return orjson.dumps(await self._syscall(name, params))
