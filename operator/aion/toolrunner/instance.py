"""One seat for a wasm call: an engine of its own, the compiled module, and the conversation with a fresh instance.

It stands apart because all that touches a module's memory is here. A seat serves one call at a time and has its own
engine, because wasmtime stops code by an engine's epoch: with one engine for all, stopping one call would stop every
call. It must never trust an address or a length that a module names, never link more than `aion.syscall` (a module
that imports WASI gets one with no file, no variable and no socket), and never raise inside that import: wasmtime-py
keeps "the last exception" in one global, so with calls in several threads one call would raise another's error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import wasmtime

from aion.toolrunner import errors
from aion.toolrunner.engine import MAX_RESULT

if TYPE_CHECKING:
    from wasmtime._store import Storelike

EXPORTS = ("memory", "aion_alloc", "aion_call")
WASI = "wasi_snapshot_preview1"
U32 = 0xFFFFFFFF


def engine() -> wasmtime.Engine:
    """Make an engine; all of them alike, so that what one compiled every other can load."""
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.consume_fuel = True
    return wasmtime.Engine(config)


def compiled(binary: bytes) -> bytearray:
    """Compile a module and check that it is a tool; raises BadArtefact with a sentence for the Tool's condition."""
    try:
        module = wasmtime.Module(engine(), binary)
    except wasmtime.WasmtimeError as bad:
        raise errors.BadArtefact(f"the file is not a WebAssembly module: {str(bad).splitlines()[0]}") from None
    exported = {export.name for export in module.exports}
    if missing := [name for name in EXPORTS if name not in exported]:
        raise errors.BadArtefact(f"the module does not export {', '.join(missing)}: see sdk/tools/README.md")
    for wanted in module.imports:
        if (wanted.module, wanted.name) != ("aion", "syscall") and wanted.module != WASI:
            name = f"{wanted.module}.{wanted.name}"
            raise errors.BadArtefact(f"the module imports {name}, and a tool is given aion.syscall only")
    return module.serialize()


class Seat:
    """Runs one call after the other, each in an instance of its own."""

    def __init__(self, image: str, *, memory_bytes: int, fuel: int) -> None:
        """`image` is a file of `compiled` code that this process wrote: loading one executes it."""
        self._engine = engine()
        self._memory_bytes = memory_bytes
        self._fuel = fuel
        module = wasmtime.Module.deserialize_file(self._engine, image)
        linker = wasmtime.Linker(self._engine)
        i32, i64 = wasmtime.ValType.i32(), wasmtime.ValType.i64()
        linker.define_func("aion", "syscall", wasmtime.FuncType([i32, i32], [i64]), self._syscall, access_caller=True)
        self._wasi = any(wanted.module == WASI for wanted in module.imports)
        if self._wasi:
            linker.define_wasi()
        try:
            self._template = linker.instantiate_pre(module)
        except wasmtime.WasmtimeError as bad:
            raise errors.BadArtefact(f"the module's imports do not fit: {str(bad).splitlines()[0]}") from None
        self._ask: Callable[[bytes], bytes] | None = None
        self._store: wasmtime.Store | None = None
        self._given_up: errors.CallFailed | None = None

    def stop(self, why: errors.CallFailed) -> None:
        """End the running call at its next step, from any thread."""
        self._given_up = why
        self._engine.increment_epoch()

    def run(self, document: bytes, ask: Callable[[bytes], bytes]) -> bytes:
        """Run one call on this thread; `ask` answers its nested syscalls and may raise CallFailed."""
        store = self._store = wasmtime.Store(self._engine)
        store.set_limits(memory_size=self._memory_bytes, instances=1, memories=1, tables=4, table_elements=100_000)
        store.set_fuel(self._fuel)
        store.set_epoch_deadline(1)
        if self._wasi:
            store.set_wasi(wasmtime.WasiConfig())
        self._ask = ask
        try:
            if self._given_up is not None:  # stopped before the deadline above was counted
                raise self._given_up
            output = self._converse(store, document)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as trap:
            raise self._given_up or self._failure(trap, store) from None
        else:
            if self._given_up is not None:
                raise self._given_up
            return output
        finally:
            self._ask = self._store = None
            store.close()

    def rest(self) -> None:
        """Make ready for the next call, once nobody can stop this one any more."""
        self._given_up = None

    def _converse(self, store: wasmtime.Store, document: bytes) -> bytes:
        exports: Any = self._template.instantiate(store).exports(store)
        if "_initialize" in exports:
            exports["_initialize"](store)
        memory = exports["memory"]
        at = _place(memory, store, exports["aion_alloc"], document)
        packed = exports["aion_call"](store, at, len(document))
        return _taken(memory, store, packed >> 32 & U32, packed & U32)

    def _failure(self, trap: Exception, store: wasmtime.Store) -> errors.CallFailed:
        code = getattr(trap, "trap_code", None)
        if code == wasmtime.TrapCode.OUT_OF_FUEL or store.get_fuel() == 0:
            return errors.TooSlow(f"the tool spent its {self._fuel} instructions without an answer")
        what = code.name.lower().replace("_", " ") if isinstance(code, wasmtime.TrapCode) else str(trap).split("\n")[0]
        limit = f"its memory limit is {self._memory_bytes >> 20} MiB"
        return errors.ToolFailed(f"the tool trapped: {what} ({limit})", details={"trap": str(trap)[:2000]})

    def _syscall(self, caller: wasmtime.Caller, ptr: int, length: int) -> int:
        """`aion.syscall`: where the answer lies in the tool's memory; 0, and no fuel left, when the call is over."""
        assert self._ask is not None and self._store is not None  # noqa: S101, PT018 - only a running instance calls
        try:
            memory = cast("wasmtime.Memory", caller["memory"])
            answer = self._ask(_taken(memory, caller, ptr & U32, length & U32))
            at = _place(memory, caller, caller["aion_alloc"], answer)
        except errors.CallFailed as failed:
            self._given_up = self._given_up or failed
        except (wasmtime.Trap, wasmtime.WasmtimeError):
            trapped = errors.ToolFailed("the tool trapped while it made room for a syscall's answer")
            self._given_up = self._given_up or trapped
        else:
            packed = at << 32 | len(answer)
            return packed - (1 << 64) if packed >> 63 else packed
        self._store.set_fuel(0)
        return 0


def _place(memory: wasmtime.Memory, store: Storelike, alloc: object, document: bytes) -> int:
    """Copy a document into the instance, at an address of its own choice."""
    at = int(cast("wasmtime.Func", alloc)(store, len(document))) & U32
    if at + len(document) > memory.data_len(store):
        raise errors.ToolFailed("the tool's aion_alloc answered an address outside its memory")
    memory.write(store, document, at)
    return at


def _taken(memory: wasmtime.Memory, store: Storelike, at: int, length: int) -> bytes:
    """Copy what the tool hands over."""
    if length > MAX_RESULT:
        raise errors.TooMuch(f"the tool handed over {length} bytes, at most {MAX_RESULT} are taken")
    if at + length > memory.data_len(store):
        raise errors.ToolFailed("the tool named bytes outside its memory")
    return bytes(memory.read(store, at, at + length))
