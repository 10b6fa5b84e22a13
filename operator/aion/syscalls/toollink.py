"""One WebSocket to one tool runner: many calls at once, told apart by their id.

Apart from `toolchannels`, which decides when to dial: this is a connection from its upgrade to its end. When it breaks,
every call on it learns so at once, and whether its question had gone out. It must never interpret params or results, and
never leave a runner working for a caller that is gone.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from aion.api import errors, toolcall
from aion.syscalls import websocket

Nested = Callable[[str, msgspec.Raw], Awaitable[bytes]]
"""Do a nested syscall by name and params; raises SyscallError."""


class Ask(NamedTuple):
    """One call of a tool. `remaining` tells the time left, in seconds, when the question goes out."""

    params: msgspec.Raw
    context: toolcall.CallContext
    remaining: Callable[[], float]
    nested: Nested


class BrokenLink(Exception):  # noqa: N818 - a state of affairs, turned into an UpstreamFailed or a retry one level up
    """The connection is gone. `sent` says whether the runner may have begun the call."""

    def __init__(self, why: str, *, sent: bool) -> None:
        super().__init__(why)
        self.sent = sent


class _Waiting:
    """A call that waits for its answer, the nested syscalls it is doing meanwhile, and those it was refused, by code."""

    __slots__ = ("answer", "nested", "refused", "tasks")

    def __init__(self, answer: asyncio.Future[bytes], nested: Nested) -> None:
        self.answer = answer
        self.nested = nested
        self.refused: dict[str, errors.SyscallError] = {}
        self.tasks: set[asyncio.Task[None]] = set()


class Link:
    """A connection that is up, until `broken`."""

    def __init__(self, socket: websocket.Socket) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._goodbyes: set[asyncio.Task[None]] = set()
        self.broken = False
        socket.listen(self._hear, self._end)

    async def call(self, ask: Ask) -> bytes:
        """The tool's result as JSON. Raises SyscallError as the runner said, or BrokenLink."""
        number = next(self._ids)
        waiting = _Waiting(asyncio.get_running_loop().create_future(), ask.nested)
        self._waiting[number] = waiting
        try:
            timeout_ms = max(1, int(ask.remaining() * 1000))
            await self._send(
                toolcall.Invoke(id=number, context=ask.context, timeout_ms=timeout_ms, params=ask.params), sent=False
            )
            return await waiting.answer
        except asyncio.CancelledError:
            self._say_goodbye(number)
            raise
        finally:
            del self._waiting[number]
            if waiting.answer.done() and not waiting.answer.cancelled():
                waiting.answer.exception()  # seen: it may have come while this call was ending for another reason
            for task in waiting.tasks:
                task.cancel()

    async def close(self) -> None:
        """End the connection; calls on it fail."""
        await self._socket.close()

    async def _send(self, frame: toolcall.ToRunner, *, sent: bool) -> None:
        try:
            await self._socket.send(toolcall.encode(frame))
        except websocket.Broken as error:
            self.broken = True
            raise BrokenLink(f"the runner hung up: {error}", sent=sent or error.sent) from None

    def _say_goodbye(self, number: int) -> None:
        """Tell the runner that nobody waits any more; in a task, for the caller is being cancelled."""

        async def cancel() -> None:
            try:
                await self._send(toolcall.Cancel(id=number), sent=True)
            except BrokenLink:
                return  # a runner whose caller is gone stops its calls by itself

        task = asyncio.create_task(cancel(), name="tool-cancel")
        self._goodbyes.add(task)
        task.add_done_callback(self._goodbyes.discard)

    def _hear(self, text: bytes) -> None:
        try:
            frame = toolcall.decode_from_runner(text)
        except (msgspec.DecodeError, RecursionError) as error:
            self._socket.hang_up(f"speaks another protocol: {error}")
        else:
            self._take(frame)

    def _end(self, ended: websocket.Ended) -> None:
        self.broken = True
        for waiting in self._waiting.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(BrokenLink(f"the runner {ended.why}", sent=True))

    def _take(self, frame: toolcall.FromRunner) -> None:
        waiting = self._waiting.get(frame.id)
        if waiting is None or waiting.answer.done():
            return  # it timed out here while the answer was on its way
        match frame:
            case toolcall.Result(result=raw):
                result = bytes(raw)
                if len(result) > toolcall.MAX_RESULT_BYTES:
                    waiting.answer.set_exception(
                        errors.TooLarge(
                            f"the tool's result has {len(result)} bytes, expected at most {toolcall.MAX_RESULT_BYTES}"
                        )
                    )
                else:
                    waiting.answer.set_result(result)
            case toolcall.Failure(code=code, message=said, details=details):
                waiting.answer.set_exception(_failure(code, said, details, because=waiting.refused.get(code)))
            case toolcall.Syscall():
                task = asyncio.create_task(self._answer(frame, waiting), name="nested-syscall")
                waiting.tasks.add(task)
                task.add_done_callback(waiting.tasks.discard)

    async def _answer(self, ask: toolcall.Syscall, waiting: _Waiting) -> None:
        try:
            result = await waiting.nested(ask.syscall, ask.params)
            answer = toolcall.Answer(id=ask.id, n=ask.n, status="ok", result=msgspec.Raw(result))
        except errors.SyscallError as error:
            waiting.refused[error.code] = error
            said = toolcall.CallError(error.code, error.message, error.details)
            answer = toolcall.Answer(id=ask.id, n=ask.n, status="error", error=said)
        try:
            await self._send(answer, sent=True)
        except BrokenLink:
            return  # the reader sees it too, and tells the call


def _failure(
    code: str, said: str, details: dict[str, Any] | None, *, because: errors.SyscallError | None
) -> errors.SyscallError:
    """What a runner reports; a refusal that its tool only passes on keeps the rule, which the runner never sees."""
    if because is None:
        return errors.of(code)(said, details=details)
    return errors.of(code)(said, rule=because.rule, retry_after_ms=because.retry_after_ms, details=details)
