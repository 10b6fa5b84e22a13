"""The kernel on a laptop, for `aionctl kernel dev`: in memory, without a cluster, with the tools of a folder.

It stands apart from the command so that `aionctl --help` imports none of this. What is served is the kernel of a cluster,
only that an agent need not register and that nothing confines a tool. It must never listen beyond loopback, nor leave a
process behind.
"""

import asyncio
import contextlib
import errno
import json
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

from aion.api import backends, event, grant, ids
from aion.api import policy as policies
from aion.api.shape import InvalidManifest
from aion.api.tool import Tool
from aion.cli import localtools, startscreen
from aion.cli import policy as policy_files
from aion.kernel import app, residents
from aion.kernel.bus import Bus, Interest
from aion.kernel.grants import Policy
from aion.kernel.memorystore import MemoryStore
from aion.kernel.tenantkeys import FixedKeys
from aion.serving import sockets
from aion.telemetry import logs

GRACE_S = 2.0
SEARCH_TOOL = "web-search"
"""The Tool that finds the search server's address, as the chart's `search.url` gives it in a cluster."""

MODEL, MODEL_KEY = "local", "AION_MODEL_KEY"
"""The backend that --model-url names, and the variable that holds its key where it wants one."""

Say = Callable[[str], None]


class CannotStart(Exception):  # noqa: N818 - what is the matter
    """The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for."""

    keys: Mapping[str, str]
    """Tenant -> secret."""
    shown_secret: str
    port: int
    tools: Path | None
    files: Path
    search_url: str
    policy: Path | None
    model_url: str = ""


def run(wishes: Wishes, *, say: Say) -> None:
    """Serve until Ctrl-C, SIGTERM or the end of the terminal; raises CannotStart."""
    logs.configure(level="error", stream=sys.stderr)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, contextlib.suppress(asyncio.CancelledError):
        runner.run(_until_cancelled(wishes, say=say))
    say("stopped")


async def _until_cancelled(wishes: Wishes, *, say: Say) -> None:
    if (task := asyncio.current_task()) is not None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    policy, shelf = bundle(wishes.policy, search_url=wishes.search_url, model=bool(wishes.model_url)), _shelf(wishes)
    models = _models(wishes.model_url)
    listening = listen(wishes.port)
    async with contextlib.AsyncExitStack() as stack:
        for each in listening:
            stack.callback(each.close)
        keys = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aion-kernel-dev-")))
        secret = secrets.token_hex(32).encode()
        (keys / localtools.KEY_ID).write_bytes(secret)
        tools = localtools.LocalTools(secret)
        kernel = app.assemble(
            store=MemoryStore(time.monotonic),
            keys=FixedKeys({tenant: {startscreen.KEY_ID: given.encode()} for tenant, given in wishes.keys.items()}),
            policy=policy,
            tools=tools,
            anyone=True,
            backends=models,
            model_keys=_Key(os.environ.get(MODEL_KEY, "")) if wishes.model_url else None,
            open_as=ids.agent_id(next(iter(wishes.keys)), startscreen.LOCAL),
        )
        async with asyncio.TaskGroup() as starting:
            for found in shelf.runnable:
                runner = localtools.runner(found, files=wishes.files, keys=keys, say=say)
                starting.create_task(_start(stack, runner, found.tool, kernel=kernel, tools=tools, tenants=wishes.keys))
        await stack.enter_async_context(kernel.serving(listening, grace_s=GRACE_S))
        say(startscreen.welcome(_sight(wishes, shelf, policy, port=listening[0].getsockname()[1])))
        await _tell(kernel.bus, say)


def _models(url: str) -> Mapping[str, grant.Backend]:
    """Return the backend at this URL, if there is one; raises CannotStart."""
    try:
        return backends.read(json.dumps({MODEL: {"kind": "openai", "url": url}} if url else {}))
    except ValueError as wrong:
        raise CannotStart(f"--model-url: {wrong}") from None


class _Key:
    """The key of the one model server, from the environment: what stands in a command line is seen by everybody."""

    def __init__(self, key: str) -> None:
        self._key = key

    def key(self, name: str) -> str:  # noqa: ARG002 - there is one
        """The key; empty where the server wants none."""
        return self._key


def _shelf(wishes: Wishes) -> localtools.Shelf:
    if wishes.tools is None:
        return localtools.Shelf()
    config = {SEARCH_TOOL: {"searchUrl": wishes.search_url}} if wishes.search_url else {}
    try:
        return localtools.read(wishes.tools, files=wishes.files, config=config)
    except localtools.BadTools as bad:
        raise CannotStart(str(bad)) from None


async def _start(
    stack: contextlib.AsyncExitStack,
    runner: contextlib.AbstractAsyncContextManager[str],
    tool: Tool,
    *,
    kernel: app.Kernel,
    tools: localtools.LocalTools,
    tenants: Iterable[str],
) -> None:
    """Start one runner, and let the agents of every tenant see its Tool."""
    url = await stack.enter_async_context(runner)
    for tenant in tenants:
        held = residents.named_as(tool, tenant=tenant, name=tool.name)
        kernel.registry.tools.hold(held)
        tools.put(held.endpoint, url)


def bundle(path: Path | None, *, search_url: str, model: bool = False) -> Policy:
    """Return the policy: a file's, or one that allows every syscall and no host; and the search server's host.

    With a model server, every model that the file has no route for leads there.

    Raises CannotStart.
    """
    try:
        document: dict[str, Any] = policy_files.read(path).document() if path else {"schema": policies.SCHEMA}
        if search_url:
            egress = document.get("egress", {})
            document["egress"] = {**egress, "allow": [*egress.get("allow", []), _host(search_url)]}
        if model:
            models = document.get("models", {})
            routes = [*models.get("routes", []), {"model": "*", "backends": [MODEL]}]
            document["models"] = {**models, "routes": routes}
        return Policy.of(policies.Bundle.from_document(document), revision=1)
    except InvalidManifest as invalid:
        lines = [f"{where}: {said}" if where else said for where, said in invalid.problems]
        raise CannotStart("\n".join(f"{path or 'policy'}: {each}" for each in lines)) from None


def _host(search_url: str) -> dict[str, Any]:
    try:
        parts = urlsplit(search_url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        raise CannotStart(f"--search-url: got {search_url!r}, expected http(s)://host[:port]") from None
    return {"host": parts.hostname or "", "ports": [port], "private": True}


def listen(port: int) -> list[socket.socket]:
    """Return sockets on both of the addresses that `localhost` may be, or on the one there is; raises CannotStart."""
    try:
        first = sockets.bind("127.0.0.1", port)
    except (sockets.AddressTaken, OSError) as refused:
        raise CannotStart(f"{refused} (--port)") from None
    try:
        return [first, sockets.bind("::1", first.getsockname()[1])]
    except sockets.AddressTaken as taken:
        first.close()
        raise CannotStart(f"{taken} (--port)") from None
    except OSError as without:
        if without.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
            return [first]
        first.close()
        raise CannotStart(f"::1 port {port}: {without.strerror}") from None


def _sight(wishes: Wishes, shelf: localtools.Shelf, policy: Policy, *, port: int) -> startscreen.Sight:
    return startscreen.Sight(
        port=port,
        tenants=list(wishes.keys),
        secret=wishes.shown_secret,
        tools=[each.tool for each in shelf.runnable],
        left_out=shelf.left_out,
        bundle=policy.bundle,
        digest=policy.digest,
    )


async def _tell(bus: Bus, say: Say) -> None:
    """Tell each syscall as it is recorded, until the bus ends."""
    async for rows in bus.follow(Interest(frozenset({event.SYSCALLS}), None)):
        for row in rows:
            if (said := startscreen.line(row)) is not None:
                say(said)
