"""One WebSocket's calls: frames in, the engine's work, frames out, many at once.

It stands apart because it knows the protocol and no engine. It must never let one call wait for another, and never
leave a call running whose caller is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import msgspec
import orjson

from aion.api import toolcall
from aion.toolrunner import errors
from aion.toolrunner.engine import Document, Engine, Invocation

_log = logging.getLogger("aion.toolrunner")

Send = Callable[[bytes], Awaitable[None]]

OWN_CODES = frozenset({"E_UPSTREAM", "E_PARAMS", "E_TIMEOUT", "E_TOO_LARGE"})
"""What a tool may say by itself. Any other code must have been answered to it in this very call: a tool that said
E_PREEMPT on its own could make an agent yield."""


@dataclass
class Load:
    """How many calls this runner has in flight, over all its connections."""

    most: int = toolcall.MAX_IN_FLIGHT
    in_flight: int = 0
    stopping: bool = False


@dataclass
class _Call:
    task: asyncio.Task[None] | None = None
    asked: dict[int, asyncio.Future[Document]] = field(default_factory=dict)
    refused: dict[str, Document | None] = field(default_factory=dict)
    """Codes that nested syscalls were refused with, and the details of each."""


def believed(failed: errors.CallFailed, refused: Mapping[str, Document | None]) -> errors.CallFailed:
    """What to tell the caller of a failure: a refusal it passes on keeps its details, a code it made up is dropped."""
    if failed.code in refused:
        details = failed.details or refused[failed.code] or {}
        kept = {
            name: value for name, value in details.items() if name != toolcall.LEAVING
        }  # only a runner may say that
        return errors.ToolFailed(failed.message, code=failed.code, details=kept or None)
    if isinstance(failed, errors.ToolFailed) and failed.code not in OWN_CODES:
        return errors.ToolFailed(failed.message, details={**(failed.details or {}), "tool_code": failed.code})
    return failed


class Session:
    """The calls of one connection."""

    def __init__(self, engine: Engine, tool: toolcall.RunnerTool, *, load: Load, send: Send) -> None:
        self._engine = engine
        self._tool = tool
        self._load = load
        self._send = send
        self._calls: dict[int, _Call] = {}

    async def receive(self, text: str) -> None:
        """Act on one frame; raises msgspec.DecodeError for one that is not of the protocol."""
        match toolcall.decode_to_runner(text):
            case toolcall.Invoke() as invoke:
                await self._invoke(invoke)
            case toolcall.Answer() as answer:
                self._answer(answer)
            case toolcall.Cancel(id=ident):
                if (call := self._calls.get(ident)) and call.task:
                    call.task.cancel()

    async def close(self) -> None:
        """End every call: nobody waits for them any more."""
        tasks = [call.task for call in self._calls.values() if call.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _invoke(self, invoke: toolcall.Invoke) -> None:
        try:
            invocation = self._admitted(invoke)
        except errors.CallFailed as refused:
            await self._fail(invoke.id, refused)
            return
        call = self._calls[invoke.id] = _Call()
        self._load.in_flight += 1
        call.task = asyncio.create_task(self._run(invoke.id, call, invocation))
        # not in the task itself: one that is cancelled before its first step never runs its `finally`
        call.task.add_done_callback(lambda _: self._forget(invoke.id))

    def _forget(self, ident: int) -> None:
        self._load.in_flight -= 1
        del self._calls[ident]

    def _admitted(self, invoke: toolcall.Invoke) -> Invocation:
        if invoke.id in self._calls:
            raise errors.BadCall(f"call {invoke.id} is in flight already: ids are used once", code="E_BAD_REQUEST")
        if self._load.stopping:
            raise errors.Full(
                "this runner is stopping: ask again, another one answers", details={toolcall.LEAVING: True}
            )
        if self._load.in_flight >= self._load.most:
            raise errors.Full(f"{self._load.most} calls are in flight, which is all that this runner takes")
        if len(raw := bytes(invoke.params)) > toolcall.MAX_PARAMS_BYTES:
            raise errors.TooMuch(f"params are {len(raw)} bytes, expected at most {toolcall.MAX_PARAMS_BYTES}")
        params = orjson.loads(raw)
        if not isinstance(params, dict):
            raise errors.BadCall(f"params: expected an object, got {type(params).__name__}")
        timeout = min(invoke.timeout_ms, self._tool.timeout_ms) if invoke.timeout_ms > 0 else self._tool.timeout_ms
        return Invocation(params, self._tool.config, timeout)

    async def _run(self, ident: int, call: _Call, invocation: Invocation) -> None:
        async def syscall(name: str, params: Document) -> Document:
            n = len(call.asked)
            call.asked[n] = asyncio.get_running_loop().create_future()
            await self._send(toolcall.encode(toolcall.Syscall(ident, n, name, msgspec.Raw(orjson.dumps(params)))))
            return await call.asked[n]

        try:
            result = await self._engine.call(invocation, syscall)
        except errors.CallFailed as failed:
            await self._fail(ident, believed(failed, call.refused))
        except Exception:  # noqa: BLE001 - the outermost loop of a call: a bug of ours is answered, or its caller waits in vain
            _log.exception("a call broke")
            await self._fail(ident, errors.ToolFailed("the tool's runner broke: see its log"))
        else:
            await self._send(toolcall.encode(toolcall.Result(ident, msgspec.Raw(orjson.dumps(result)))))

    def _answer(self, answer: toolcall.Answer) -> None:
        call = self._calls.get(answer.id)
        if call is None or (waiting := call.asked.get(answer.n)) is None or waiting.done():
            return  # the call ended while its answer was on the way
        if answer.status == "ok":
            waiting.set_result({"status": "ok", "result": orjson.loads(bytes(answer.result))})
        else:
            failed = answer.error or toolcall.CallError("E_UPSTREAM", "the syscall failed without a reason")
            call.refused[failed.code] = failed.details
            waiting.set_result({"status": "error", "error": msgspec.to_builtins(failed)})

    async def _fail(self, ident: int, failed: errors.CallFailed) -> None:
        await self._send(toolcall.encode(toolcall.Failure(ident, failed.code, failed.message, failed.details)))
