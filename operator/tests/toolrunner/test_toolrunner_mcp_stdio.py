"""An MCP server that is kept running: both eras, many calls at once, its death, its silence, and what it leaves behind."""

import asyncio
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aion.toolrunner import errors, mcp_stdio, native
from aion.toolrunner.engine import Invocation
from aion.toolrunner.local import Spawned
from aion.toolrunner.mcp_stdio import McpServer
from launch_fixture import started

FAKE = str(Path(__file__).with_name("mcp_fake_server.py"))


async def nobody(name, params):
    raise AssertionError(name)


@asynccontextmanager
async def server(*argv: str, name: str = "echo", folder: Path = Path(), starter=None) -> AsyncIterator[McpServer]:
    engine = McpServer(starter or Spawned([sys.executable, "-I", "-S", FAKE, *argv], cwd=folder), name=name)
    try:
        await engine.load()
        yield engine
    finally:
        await engine.close()


def call(engine: McpServer, timeout_ms: int = 5000, **params):
    return engine.call(Invocation(params, {}, timeout_ms), nobody)


async def failure(engine: McpServer, timeout_ms: int = 5000, **params) -> errors.CallFailed:
    with pytest.raises(errors.CallFailed) as failed:
        await call(engine, timeout_ms, **params)
    return failed.value


@pytest.mark.parametrize("mode", ["legacy", "modern"])
async def test_a_server_of_either_era_answers_with_its_content(mode: str):
    async with server(mode) as engine:
        answer = await call(engine, n=7)
    assert answer["content"] == [{"type": "text", "text": "hi"}]
    assert answer["structuredContent"]["arguments"] == {"n": 7}
    assert answer["structuredContent"]["tool"] == "echo"


async def test_many_calls_share_one_process_and_each_gets_its_own_answer():
    async with server() as engine:
        answers = await asyncio.gather(*(call(engine, n=n) for n in range(20)))
    assert [answer["structuredContent"]["arguments"]["n"] for answer in answers] == list(range(20))
    assert len({answer["structuredContent"]["pid"] for answer in answers}) == 1


async def test_the_tool_is_the_namesake_or_the_only_one_there_is():
    async with server("legacy", "a,echo,z") as engine:
        assert (await call(engine))["structuredContent"]["tool"] == "echo"
    async with server("legacy", "get.weather", name="weather") as engine:
        assert (await call(engine))["structuredContent"]["tool"] == "get.weather"
    with pytest.raises(errors.BadArtefact, match=r"offers the tools a, b: .* got weather"):
        async with server("legacy", "a,b", name="weather"):
            pass


@pytest.mark.parametrize(
    ("do", "says"),
    [
        ("fail", "no such city"),
        ("refuse", "-32602: bad arguments"),
        ("strange", "asks a person"),
        ("flood", "was killed"),
    ],
)
async def test_what_a_server_says_in_place_of_a_result_is_the_calls_failure(do: str, says: str):
    async with server() as engine:
        failed = await failure(engine, do=do)
    assert says in failed.message
    assert failed.code == "E_UPSTREAM"


async def test_a_server_that_asks_its_client_for_a_model_is_told_that_there_is_none():
    async with server() as engine:
        answer = await call(engine, do="ask")
    assert answer["structuredContent"]["error"]["code"] == -32601


async def test_when_the_server_dies_its_calls_fail_with_its_last_words_and_the_next_begins_another(monkeypatch):
    monkeypatch.setattr(mcp_stdio, "PAUSE_S", 0.0)
    async with server() as engine:
        waiting = asyncio.create_task(failure(engine, do="wait"))
        first = (await call(engine))["structuredContent"]["pid"]
        died = await failure(engine, do="die")
        assert "exited with status 3" in died.message
        assert "I am dying" in (died.details or {})["stderr"]
        assert "exited with status 3" in (await waiting).message
        assert (await call(engine))["structuredContent"]["pid"] != first


async def test_a_server_that_dies_at_once_is_not_begun_in_a_loop():
    async with server() as engine:
        await failure(engine, do="die")
        assert "exited with status 3" in (await failure(engine)).message


async def test_a_call_that_times_out_is_cancelled_at_the_server_and_the_server_lives_on():
    async with server() as engine:
        late = await failure(engine, 100, do="wait")
        assert (late.code, "100 ms" in late.message) == ("E_TIMEOUT", True)
        assert len((await call(engine))["structuredContent"]["cancelled"]) == 1


async def test_a_server_that_answers_nothing_any_more_is_killed_and_another_begun(monkeypatch):
    monkeypatch.setattr(mcp_stdio, "ALIVE_S", 0.1)
    monkeypatch.setattr(mcp_stdio, "PAUSE_S", 0.0)
    async with server() as engine:
        first = (await call(engine))["structuredContent"]["pid"]
        assert (await failure(engine, 100, do="hang")).code == "E_TIMEOUT"
        await ended(first)
        assert (await call(engine))["structuredContent"]["pid"] != first


async def test_a_server_that_reads_no_more_holds_no_call_beyond_its_time_and_is_killed(monkeypatch):
    monkeypatch.setattr(mcp_stdio, "ALIVE_S", 0.1)
    monkeypatch.setattr(mcp_stdio, "PAUSE_S", 0.0)
    async with server() as engine:
        first = (await call(engine))["structuredContent"]["pid"]
        await call(engine, do="deafen")
        async with asyncio.timeout(5):  # its pipe is full: not even a cancellation goes through
            late = await asyncio.gather(*(failure(engine, 200, filler="x" * 250_000) for _ in range(4)))
        assert {each.code for each in late} <= {"E_TIMEOUT", "E_UPSTREAM"}
        await ended(first)
        assert (await call(engine))["structuredContent"]["pid"] != first


async def test_a_server_that_cannot_run_is_said_to_be_so_in_its_own_words(monkeypatch):
    monkeypatch.setattr(mcp_stdio, "PAUSE_S", 0.01)
    with pytest.raises(errors.BadArtefact, match=r"exited with status 1.*no such library"):
        async with server("broken"):
            pass
    with pytest.raises(errors.BadArtefact, match="cannot be started"):
        async with server(starter=Spawned(["/no/such/program"], cwd=Path())):
            pass


async def test_a_server_and_its_children_end_with_the_runner(tmp_path: Path):
    async with server("children", folder=tmp_path) as engine:
        pid = (await call(engine))["structuredContent"]["pid"]
        async with asyncio.timeout(5):
            while not (children := list(tmp_path.glob("child-*"))):
                await asyncio.sleep(0.01)
    for each in (pid, *(int(child.name.removeprefix("child-")) for child in children)):
        await ended(each)


async def test_the_tools_own_container_serves_it_by_aion_launch(launch: Path, tmp_path: Path):
    socket = tmp_path / "tool.sock"
    with started(launch, "--serve", socket, "--", sys.executable, "-I", "-S", FAKE):
        async with server(starter=native.Served(socket)) as engine:
            answers = await asyncio.gather(*(call(engine, text="x" * 50_000, n=n) for n in range(4)))
            pid = answers[0]["structuredContent"]["pid"]
            assert [answer["structuredContent"]["arguments"]["n"] for answer in answers] == [0, 1, 2, 3]
        await ended(pid)


async def test_a_server_of_the_official_library_answers(tmp_path: Path):
    (tmp_path / "official.py").write_text(
        textwrap.dedent("""
        from mcp.server.mcpserver import MCPServer

        served = MCPServer("sums")

        @served.tool()
        def add(a: int, b: int) -> int:
            return a + b

        served.run()
        """)
    )
    async with server(name="add", starter=Spawned([sys.executable, "official.py"], cwd=tmp_path)) as engine:
        assert (await call(engine, 20_000, a=2, b=3))["structuredContent"] == {"result": 5}
        assert "validation error" in (await failure(engine, 20_000, a="x", b=3)).message


async def ended(pid: int) -> None:
    async with asyncio.timeout(5):
        while running(pid):
            await asyncio.sleep(0.01)


def running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
