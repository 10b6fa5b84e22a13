"""A tool's process on this machine: whatever it does, it ends with its call and takes its children along."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from aion.toolrunner import errors
from aion.toolrunner.engine import Invocation
from aion.toolrunner.local import Spawned
from aion.toolrunner.native import Native


async def nobody(name, params):
    raise AssertionError(name)


def engine(code, folder="."):
    return Native(Spawned([sys.executable, "-I", "-S", "-c", code], cwd=Path(folder)))


def call(tool, timeout_ms=5000):
    return tool.call(Invocation({"text": "a b"}, {}, timeout_ms), nobody)


HEALTHY = 'import sys; sys.stdin.read(); print(\'{"result": {"ok": true}}\')'
CHILDREN = """
import os, sys, time
for _ in range(5):
    if os.fork() == 0:
        if os.fork() == 0:
            pass
        open(f"pid-{os.getpid()}", "w").close()
        time.sleep(600)
"""


def alive(folder):
    return [pid for pid in (int(p.name[4:]) for p in folder.glob("pid-*")) if running(pid)]


def running(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_program_answers():
    assert await call(engine(HEALTHY)) == {"ok": True}


@pytest.mark.parametrize(
    ("code", "error", "says"),
    [
        ("import os; os.abort()", errors.ToolFailed, "signal 6"),
        ("raise SystemExit(9)", errors.ToolFailed, "status 9"),
        ("print('hello')", errors.ToolFailed, "not one JSON document"),
        ("import sys\nfor _ in range(1600): sys.stdout.write('x' * 65536)", errors.TooMuch, "more than 1048576"),
        ("import time; time.sleep(600)", errors.TooSlow, "600 ms"),
        ("while True: pass", errors.TooSlow, "600 ms"),
    ],
)
async def test_a_tool_that_misbehaves_ends_by_its_own_error_and_a_healthy_one_beside_it_is_served(code, error, says):
    bad = asyncio.ensure_future(call(engine(code), timeout_ms=600))
    began = time.monotonic()
    assert await call(engine(HEALTHY)) == {"ok": True}
    assert time.monotonic() - began < 0.5
    with pytest.raises(error, match=says):
        await bad


async def test_stderr_is_kept_for_the_error(tmp_path):
    with pytest.raises(errors.ToolFailed) as failed:
        await call(engine("import sys; sys.stderr.write('x' * 9000 + 'the end'); sys.exit(1)"))
    assert failed.value.details["stderr"].endswith("the end")
    assert len(failed.value.details["stderr"]) == 4096


@pytest.mark.parametrize("ending", ["time.sleep(600)", "print('{\"result\": {}}')"])
async def test_children_left_behind_die_with_the_call(tmp_path, ending):
    tool = engine(CHILDREN + ending, tmp_path)
    began = time.monotonic()
    try:
        await call(tool, timeout_ms=800)
    except errors.TooSlow:
        assert "sleep" in ending
    assert time.monotonic() - began < 3
    for _ in range(50):
        if not alive(tmp_path):
            break
        await asyncio.sleep(0.02)
    assert alive(tmp_path) == []


async def test_a_program_that_is_absent_is_named():
    with pytest.raises(errors.ToolFailed, match="cannot be started"):
        await call(Native(Spawned(["/absent/program"], cwd=Path())))
