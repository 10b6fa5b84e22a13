"""Tools on a laptop: manifests from a folder, each served by a runner process of its own on loopback.

It stands apart from the kernel, which reaches these tools by the same protocol as in a cluster and does not know where
they are. No sandbox is around them: they run as whoever started them, with little of their environment. It must never
leave a process behind.
"""

import asyncio
import contextlib
import os
import secrets
import shlex
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import yaml

from aion.api import errors, labels, signing
from aion.api.shape import InvalidManifest
from aion.api.tool import Tool
from aion.serving import sockets
from aion.syscalls.toolchannels import ToolChannels
from aion.syscalls.toollink import Ask
from aion.toolrunner import pytool

TENANT, KEY_ID = "laptop", "own"
"""Whose tools these are, to their runners: the kernel's, by a key that is made anew each time."""

READY_S = 20.0
"""A wasm module is compiled as it is loaded: seconds where it is large."""

GIVE_UP_S = 0.1
"""What a runner needs to find that its file is no tool."""

STOP_S = 5.0

_KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH")

Say = Callable[[str], None]


class BadTools(Exception):  # noqa: N818 - what they are
    """Manifests that cannot be used; each of `problems` is a line for a person."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Runnable:
    """A Tool and how its runner is told of it, by environment variables."""

    tool: Tool
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Shelf:
    """What was found: Tools that can run here, and why others cannot."""

    runnable: tuple[Runnable, ...] = ()
    left_out: tuple[str, ...] = ()


def read(manifests: Path, *, files: Path, config: Mapping[str, Mapping[str, str]]) -> Shelf:
    """Read the Tools in a folder (or one file) of manifests; raises BadTools.

    `files` is where the paths of entries begin. `config` is what a Tool finds without writing it, by its name.
    """
    runnable: dict[str, Runnable] = {}
    left_out: list[str] = []
    problems: list[str] = []
    for path in _paths(manifests):
        for document in _documents(path, problems):
            if not isinstance(document, dict) or document.get("kind") != "Tool":
                continue
            if document.get("apiVersion") != labels.API_VERSION:
                left_out.append(
                    f"{path}: not of {labels.API_VERSION}; `aionctl convert {path}` reads a classic tool.yml"
                )
                continue
            try:
                tool = Tool.from_file(document)
            except InvalidManifest as invalid:
                problems += [
                    f"{path}: {where}: {said}" if where else f"{path}: {said}" for where, said in invalid.problems
                ]
                continue
            try:
                environment = _environment(tool, files=files, config=config.get(tool.name, {}))
            except ValueError as cannot:
                left_out.append(f"{tool.tool_name}: {cannot}")
            else:
                runnable[tool.name] = Runnable(tool, environment)
    if problems:
        raise BadTools(problems)
    return Shelf(tuple(runnable[name] for name in sorted(runnable)), tuple(left_out))


def _paths(manifests: Path) -> list[Path]:
    if manifests.is_dir():
        return sorted(path for path in manifests.iterdir() if path.suffix in {".yaml", ".yml"})
    return [manifests]


def _documents(path: Path, problems: list[str]) -> Iterable[object]:
    try:
        return list(yaml.safe_load_all(path.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as unreadable:
        problems.append(f"{path} cannot be read: {unreadable}")
        return ()


def _environment(tool: Tool, *, files: Path, config: Mapping[str, str]) -> dict[str, str]:
    """Return what the runner of a Tool is told; raises ValueError with what is missing."""
    runner, entry = tool.runner_tool(), tool.spec.parsed_entry
    runner = msgspec.structs.replace(runner, config={**config, **runner.config})
    told = {"AION_TOOL": msgspec.json.encode(runner).decode()}
    if entry.kind == "python":
        argv = [sys.executable, str(Path(pytool.__file__).resolve()), entry.module, entry.function]
        return {**told, "AION_TOOL_ARGV": shlex.join(argv)}
    if entry.kind == "mcp-stdio":
        return {**told, "AION_TOOL_ARGV": shlex.join(entry.argv)}
    if entry.kind == "mcp-remote":
        return told
    file = (files / entry.path).resolve()
    if not file.is_file():
        raise ValueError(f"there is no file {file} (entry {tool.spec.entry}; --files says where paths begin)")
    return (
        {**told, "AION_TOOL_FILE": str(file)}
        if entry.kind == "wasm"
        else {**told, "AION_TOOL_ARGV": shlex.quote(str(file))}
    )


class LocalTools:
    """The kernel's way to runners on this machine, whatever tenant calls."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._channels = ToolChannels(self._sign)
        self._where: dict[str, str] = {}

    def put(self, endpoint: str, url: str) -> None:
        """Reach the Tool that grants know by `endpoint` at `url`."""
        self._where[endpoint] = url

    async def invoke(self, endpoint: str, ask: Ask, *, idempotent: bool) -> bytes:
        """Call a tool; raises SyscallError."""
        url = self._where.get(endpoint)
        if url is None:
            raise errors.UpstreamFailed(f"no runner of this machine serves {endpoint}")
        return await self._channels.invoke(url, ask, idempotent=idempotent)

    async def close(self) -> None:
        """End every connection."""
        await self._channels.close()

    def _sign(self, target: str) -> Mapping[str, str]:
        return signing.headers(
            self._secret,
            method="GET",
            target=target,
            tenant=TENANT,
            key_id=KEY_ID,
            now_ms=time.time_ns() // 1_000_000,
            nonce=secrets.token_urlsafe(18),
        )


@contextlib.asynccontextmanager
async def runner(of: Runnable, *, files: Path, keys: Path, say: Say) -> AsyncIterator[str]:
    """Run one Tool's runner until the context is left; gives its base URL. What it writes on stderr goes to `say`."""
    inherited = {name: value for name, value in os.environ.items() if name in _KEPT_ENVIRONMENT}
    environment = {**inherited, **of.environment, "AION_TENANT": TENANT, "AION_KEYS_DIR": str(keys)}
    with sockets.bind("127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        fd = listening.fileno()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "aion.cli.localrunner", str(fd), str(os.getpid()),
            cwd=files, env=environment, pass_fds=(fd,), stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
    told = asyncio.create_task(_tell(process, of.tool.tool_name, say))
    try:
        await _ready(process, url)
        yield url
    finally:
        await _stop(process)
        await asyncio.wait({told}, timeout=1)
        told.cancel()


async def _ready(process: asyncio.subprocess.Process, url: str) -> None:
    """Wait until the runner has its tool, or has given up and said why."""
    gone = asyncio.create_task(process.wait())
    asking = asyncio.create_task(_ask(url))
    await asyncio.wait((gone, asking), timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
    for task in (gone, asking):
        task.cancel()
    await asyncio.gather(gone, asking, return_exceptions=True)


async def _ask(url: str) -> None:
    """Ask until it is ready: first whether it is there, for a runner that gives up waits for who asks if it is ready."""
    async with aiohttp.ClientSession() as session:
        for path in ("/healthz", "/readyz"):
            await _until_it_answers(session, url + path)
            await asyncio.sleep(GIVE_UP_S)


async def _until_it_answers(session: aiohttp.ClientSession, url: str) -> None:
    while True:
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(url) as answer:
                if answer.status == 200:
                    return
        await asyncio.sleep(0.05)


async def _tell(process: asyncio.subprocess.Process, name: str, say: Say) -> None:
    if process.stderr is not None:
        async for line in process.stderr:
            say(f"[{name}] {line.decode(errors='replace').rstrip()}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
