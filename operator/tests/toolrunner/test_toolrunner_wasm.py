"""A wasm tool answers, or fails by its own error, and never disturbs the call beside it."""

import asyncio
import time

import pytest
import wasmtime

from aion.toolrunner import errors
from aion.toolrunner.engine import Invocation
from aion.toolrunner.wasm import Wasm

ALLOC = """
  (memory (export "memory") 2)
  (global $top (mut i32) (i32.const 70000))
  (func (export "aion_alloc") (param $n i32) (result i32) (local $at i32)
    (local.set $at (global.get $top))
    (global.set $top (i32.add (global.get $top) (local.get $n)))
    (local.get $at))
"""
OK = '{"result":{"n":1}}'


def packed(at, length):
    return f"(i64.const {at << 32 | length})"


def module(body, *, data=OK, imports="", more=""):
    text = data.replace('"', '\\"')
    return bytes(
        wasmtime.wat2wasm(f"""(module {imports} {ALLOC} {more} (data (i32.const 16) "{text}")
      (func (export "aion_call") (param $p i32) (param $n i32) (result i64) {body}))""")
    )


HEALTHY = module(packed(16, len(OK)))
SYSCALL = '(import "aion" "syscall" (func $syscall (param i32 i32) (result i64)))'
REQUEST = '{"syscall":"net.fetch","params":{"url":"http://x"}}'
NESTING = module(f"(call $syscall (i32.const 16) (i32.const {len(REQUEST)}))", data=REQUEST, imports=SYSCALL)
FOREVER = module("(loop $again (br $again)) (unreachable)")


async def no_syscall(name, params):
    raise AssertionError(f"nobody asked for {name}")


async def loaded(binary, **kwargs):
    async def fetch():
        return binary

    engine = Wasm(fetch, memory_mb=16, **kwargs)
    await engine.load()
    return engine


async def call(engine, syscall=no_syscall, timeout_ms=2000):
    return await engine.call(Invocation({"q": "x"}, {}, timeout_ms), syscall)


async def test_a_module_answers_its_result():
    engine = await loaded(HEALTHY)
    assert await call(engine) == {"n": 1}
    await engine.close()


@pytest.mark.parametrize(
    ("binary", "error", "says"),
    [
        (module("unreachable"), errors.ToolFailed, "unreachable"),
        (module(packed(16, 3)), errors.ToolFailed, "not one JSON document"),
        (module(packed(16, 2), data="{}"), errors.ToolFailed, "neither"),
        (module(packed(16, 2_000_000)), errors.TooMuch, "at most 1048576"),
        (module(packed(16, 900_000)), errors.ToolFailed, "outside its memory"),
        (module(packed(16, 3), data="\\ff\\fe\\fd"), errors.ToolFailed, "not one JSON document"),
        (
            module(
                "(if (i32.eq (memory.grow (i32.const 4000)) (i32.const -1)) (then unreachable))" + packed(16, len(OK))
            ),
            errors.ToolFailed,
            "memory limit is 16 MiB",
        ),
    ],
)
async def test_a_bad_answer_is_named_and_the_next_call_is_served(binary, error, says):
    engine = await loaded(binary)
    for _ in range(2):
        with pytest.raises(error, match=says):
            await call(engine)
    await engine.close()


async def test_an_endless_loop_ends_at_its_deadline_and_a_call_beside_it_stays_fast():
    endless, healthy = await loaded(FOREVER), await loaded(HEALTHY)
    began = time.monotonic()
    hanging = asyncio.ensure_future(call(endless, timeout_ms=400))
    await asyncio.sleep(0.05)
    assert await call(healthy) == {"n": 1}
    assert time.monotonic() - began < 0.3
    with pytest.raises(errors.TooSlow, match="400 ms"):
        await hanging
    assert time.monotonic() - began < 2
    await endless.close()
    await healthy.close()


async def test_a_tool_that_spends_its_fuel_is_ended_long_before_its_deadline():
    engine = await loaded(FOREVER, fuel=1_000_000)
    with pytest.raises(errors.TooSlow, match="1000000 instructions"):
        await call(engine, timeout_ms=30_000)
    await engine.close()


async def test_a_nested_syscall_is_asked_of_the_caller_and_its_answer_reaches_the_tool():
    engine = await loaded(NESTING)
    asked = []

    async def answer(name, params):
        asked.append((name, params))
        return {"result": {"seen": True}}

    assert await call(engine, answer) == {"seen": True}
    assert asked == [("net.fetch", {"url": "http://x"})]
    await engine.close()


async def test_a_nested_syscall_that_never_answers_ends_with_the_calls_deadline():
    engine = await loaded(NESTING)
    cancelled = asyncio.Event()

    async def never(name, params):
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    with pytest.raises(errors.TooSlow, match="300 ms"):
        await call(engine, never, timeout_ms=300)
    await asyncio.wait_for(cancelled.wait(), 1)
    await engine.close()


@pytest.mark.parametrize(
    ("binary", "says"),
    [
        (b"not wasm at all", "not a WebAssembly module"),
        (b"", "not a WebAssembly module"),
        (bytes(wasmtime.wat2wasm("(module)")), "does not export memory, aion_alloc, aion_call"),
        (
            module(packed(16, len(OK)), imports='(import "env" "socket" (func (param i32) (result i32)))'),
            "imports env.socket",
        ),
    ],
)
async def test_a_file_that_can_never_run_is_refused_as_it_is_loaded(binary, says):
    with pytest.raises(errors.BadArtefact, match=says):
        await loaded(binary)


async def test_a_cancelled_call_stops_computing_at_once():
    engine = await loaded(FOREVER)
    task = asyncio.create_task(call(engine, timeout_ms=30_000))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    began = time.process_time()
    await asyncio.sleep(0.3)
    assert time.process_time() - began < 0.15
    await engine.close()


async def test_a_seat_that_was_stopped_serves_the_next_call():
    engine = await loaded(NESTING)

    async def never(name, params):
        await asyncio.sleep(60)

    async def at_once(name, params):
        return {"result": {}}

    for _ in range(5):
        with pytest.raises(errors.TooSlow):
            await call(engine, never, timeout_ms=20)
        assert await call(engine, at_once) == {}
    await engine.close()


async def test_64_calls_wait_for_their_syscalls_side_by_side():
    engine = await loaded(NESTING)
    waiting = asyncio.Barrier(64)

    async def together(name, params):
        await waiting.wait()
        return {"result": {}}

    answers = await asyncio.gather(*(call(engine, together, timeout_ms=10_000) for _ in range(64)))
    assert answers == [{}] * 64
    await engine.close()


async def test_a_module_that_imports_wasi_gets_no_environment_and_no_files():
    wasi = """(import "wasi_snapshot_preview1" "environ_sizes_get" (func $env (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))"""
    body = f"""(drop (call $env (i32.const 1000) (i32.const 1004)))
      (if (i32.load (i32.const 1000)) (then unreachable))
      (if (i32.ne (call $prestat (i32.const 3) (i32.const 1000)) (i32.const 8)) (then unreachable))
      {packed(16, len(OK))}"""
    engine = await loaded(module(body, imports=wasi))
    assert await call(engine) == {"n": 1}
    await engine.close()
