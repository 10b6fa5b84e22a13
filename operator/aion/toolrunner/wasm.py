"""Runs a WebAssembly tool: compiled once, a fresh instance a call, no door out but `aion.syscall`.

It stands apart because it is the only place that knows wasmtime. It must never link more than the one import
(a module that imports WASI gets one with no file, no variable and no socket), never reuse an instance, and never
raise inside the host import: wasmtime-py keeps "the last exception" in one global, so with calls in several
threads one call would raise another's error. A call is given up by taking its fuel away instead.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import orjson
import wasmtime

from aion.toolrunner import errors
from aion.toolrunner.engine import MAX_RESULT, Document, Invocation, Syscall, result_of

if TYPE_CHECKING:
    from wasmtime._store import Storelike

TICK_S = 0.02
"""How exact a deadline inside wasm is; the ticker runs only while calls do."""

FUEL = 20_000_000_000
"""Instructions a call may spend: about ten seconds of one core, and the backstop should the ticker starve."""

THREADS = 64
"""One for each call that may be in flight: a call waiting for its nested syscall holds its thread."""

EXPORTS = ("memory", "aion_alloc", "aion_call")


@dataclass
class _Running:
    """What the host import must know of the call on this thread."""

    store: wasmtime.Store
    syscall: Callable[[bytes], bytes]
    deadline: float
    given_up: errors.CallFailed | None = None


class Wasm:
    """The engine of `wasm:` entries."""

    def __init__(
        self, fetch: Callable[[], Awaitable[bytes]], *, memory_mb: int, fuel: int = FUEL, threads: int = THREADS
    ) -> None:
        config = wasmtime.Config()
        config.epoch_interruption = True
        config.consume_fuel = True
        self._engine = wasmtime.Engine(config)
        self._fetch = fetch
        self._memory_bytes = memory_mb << 20
        self._fuel = fuel
        self._template: wasmtime.InstancePre | None = None
        self._wasi = False
        self._local = threading.local()
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, "wasm")
        self._ticker = _Ticker(self._engine)

    async def load(self) -> None:
        """Fetch and compile the module once."""
        binary = await self._fetch()
        self._template = await asyncio.get_running_loop().run_in_executor(self._pool, self._compile, binary)

    async def call(self, invocation: Invocation, syscall: Syscall) -> Document:
        """Run the tool in a thread; its nested syscalls hop back to this loop."""
        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + invocation.timeout_ms / 1000
        ended = threading.Event()

        def ask(request: bytes) -> bytes:
            if ended.is_set():
                raise errors.TooSlow("the call was given up")
            answer = asyncio.run_coroutine_threadsafe(_nested(request, syscall), loop)
            try:
                return answer.result(max(0.0, deadline - time.monotonic()))
            except (concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
                answer.cancel()
                raise errors.TooSlow(_too_slow(invocation)) from None

        try:
            output = await loop.run_in_executor(self._pool, self._run, invocation, ask, deadline, ended)
        finally:
            ended.set()
        return result_of(output)

    async def close(self) -> None:
        """Stop the threads; calls still running end at their own deadline."""
        self._ticker.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _compile(self, binary: bytes) -> wasmtime.InstancePre:
        try:
            module = wasmtime.Module(self._engine, binary)
        except wasmtime.WasmtimeError as bad:
            raise errors.BadArtefact(f"the file is not a WebAssembly module: {str(bad).splitlines()[0]}") from None
        exported = {export.name for export in module.exports}
        if missing := [name for name in EXPORTS if name not in exported]:
            raise errors.BadArtefact(f"the module does not export {', '.join(missing)}: see sdk/tools/README.md")
        linker = wasmtime.Linker(self._engine)
        i32, i64 = wasmtime.ValType.i32(), wasmtime.ValType.i64()
        linker.define_func("aion", "syscall", wasmtime.FuncType([i32, i32], [i64]), self._host, access_caller=True)
        self._wasi = any(wanted.module == "wasi_snapshot_preview1" for wanted in module.imports)
        if self._wasi:
            linker.define_wasi()
        try:
            return linker.instantiate_pre(module)
        except wasmtime.WasmtimeError as bad:
            reason = str(bad).splitlines()[0]
            raise errors.BadArtefact(f"the module imports what no tool is given ({reason})") from None

    def _run(
        self, invocation: Invocation, ask: Callable[[bytes], bytes], deadline: float, ended: threading.Event
    ) -> bytes:
        """One call on this thread, in an instance of its own."""
        assert self._template is not None  # noqa: S101 - readiness is false before load
        left = deadline - time.monotonic()
        if left <= 0 or ended.is_set():
            raise errors.TooSlow(_too_slow(invocation))
        store = wasmtime.Store(self._engine)
        store.set_limits(memory_size=self._memory_bytes, instances=1, memories=1, tables=4, table_elements=100_000)
        store.set_fuel(self._fuel)
        store.set_epoch_deadline(int(left / TICK_S) + 2)
        if self._wasi:
            store.set_wasi(wasmtime.WasiConfig())
        running = self._local.running = _Running(store, ask, deadline)
        try:
            with self._ticker:
                output = self._converse(self._template, store, invocation.document())
        except (wasmtime.Trap, wasmtime.WasmtimeError) as trap:
            raise running.given_up or self._failure(trap, store, invocation) from None
        else:
            if running.given_up is not None:
                raise running.given_up
            return output
        finally:
            self._local.running = None
            store.close()

    def _converse(self, template: wasmtime.InstancePre, store: wasmtime.Store, document: bytes) -> bytes:
        exports: Any = template.instantiate(store).exports(store)
        if "_initialize" in exports:
            exports["_initialize"](store)
        memory = exports["memory"]
        packed = exports["aion_call"](store, _place(memory, store, exports["aion_alloc"], document), len(document))
        return _taken(memory, store, packed, MAX_RESULT)

    def _failure(self, trap: Exception, store: wasmtime.Store, invocation: Invocation) -> errors.CallFailed:
        code = getattr(trap, "trap_code", None)
        if code == wasmtime.TrapCode.INTERRUPT:
            return errors.TooSlow(_too_slow(invocation))
        if code == wasmtime.TrapCode.OUT_OF_FUEL or (store.get_fuel() == 0):
            return errors.TooSlow(f"the tool spent its {self._fuel} instructions without an answer")
        first = str(trap).splitlines()[0]
        what = code.name.lower().replace("_", " ") if isinstance(code, wasmtime.TrapCode) else first
        return errors.ToolFailed(
            f"the tool trapped: {what} (its memory limit is {self._memory_bytes >> 20} MiB)",
            details={"trap": str(trap)[:2000]},
        )

    def _host(self, caller: wasmtime.Caller, ptr: int, length: int) -> int:
        """`aion.syscall`: answer in the tool's memory, or 0 and no fuel left when the call is over."""
        running: _Running = self._local.running
        try:
            request = _slice(_memory(caller), caller, ptr & 0xFFFFFFFF, length & 0xFFFFFFFF, MAX_RESULT)
            answer = running.syscall(request)
            at = _place(_memory(caller), caller, caller["aion_alloc"], answer)
            # waiting for others is not the tool's computing: only its deadline counts
            running.store.set_epoch_deadline(max(0, int((running.deadline - time.monotonic()) / TICK_S) + 2))
        except errors.CallFailed as failed:
            running.given_up = failed
        except (wasmtime.Trap, wasmtime.WasmtimeError):
            running.given_up = errors.ToolFailed("the tool trapped while it made room for a syscall's answer")
        else:
            packed = (at & 0xFFFFFFFF) << 32 | len(answer)
            return packed - (1 << 64) if packed >> 63 else packed
        running.store.set_fuel(0)
        return 0


async def _nested(request: bytes, syscall: Syscall) -> bytes:
    try:
        asked = orjson.loads(request)
        name, params = asked["syscall"], asked.get("params", {})
    except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError):
        name = params = None
    if not isinstance(name, str) or not isinstance(params, dict):
        refusal = {"code": "E_BAD_REQUEST", "message": 'a nested syscall is {"syscall": text, "params": object}'}
        return orjson.dumps({"status": "error", "error": refusal})
    return orjson.dumps(await syscall(name, params))


def _memory(caller: wasmtime.Caller) -> wasmtime.Memory:
    return cast("wasmtime.Memory", caller["memory"])


def _place(memory: wasmtime.Memory, store: Storelike, alloc: object, document: bytes) -> int:
    """Copy a document into the instance, at an address of its choice that is checked."""
    at = cast("wasmtime.Func", alloc)(store, len(document)) & 0xFFFFFFFF
    if at + len(document) > memory.data_len(store):
        raise errors.ToolFailed("the tool's aion_alloc answered an address outside its memory")
    memory.write(store, document, at)
    return int(at)


def _taken(memory: wasmtime.Memory, store: Storelike, packed: int, most: int) -> bytes:
    return _slice(memory, store, packed >> 32 & 0xFFFFFFFF, packed & 0xFFFFFFFF, most)


def _slice(memory: wasmtime.Memory, store: Storelike, at: int, length: int, most: int) -> bytes:
    """Copy bytes out of the instance; an address is the tool's word and is checked."""
    if length > most:
        raise errors.TooMuch(f"the tool answered {length} bytes, at most {most} are taken")
    if at + length > memory.data_len(store):
        raise errors.ToolFailed("the tool named bytes outside its memory")
    return bytes(memory.read(store, at, at + length))


def _too_slow(invocation: Invocation) -> str:
    return f"the tool did not answer within {invocation.timeout_ms} ms"


class _Ticker:
    """Advances the engine's epoch while at least one call runs: deadlines inside wasm are counted in its ticks."""

    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self._calls = 0
        self._stopped = False
        self._changed = threading.Condition()
        threading.Thread(target=self._tick, name="epoch", daemon=True).start()

    def __enter__(self) -> None:
        with self._changed:
            self._calls += 1
            if self._calls == 1:
                self._changed.notify()

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._calls -= 1

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _tick(self) -> None:
        while not self._stopped:
            with self._changed:
                self._changed.wait_for(lambda: self._calls > 0 or self._stopped)
            time.sleep(TICK_S)
            self._engine.increment_epoch()
