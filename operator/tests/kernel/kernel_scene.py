"""What the kernel's tests share: a real Redis, callers that sign, and a kernel with a few inhabitants."""

import asyncio
import json
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from redis import ConnectionError as RedisDown
from redis import Redis

from aion.api import errors, signing
from aion.kernel import app, testing
from aion.kernel.tenantkeys import FixedKeys

SECRET = b"0123456789abcdef0123456789abcdef"
KEYS = FixedKeys({"team": {"default": SECRET}, "rivals": {"default": b"another secret"}})
ID = "agent://team/a"


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def answers(client):
    try:
        return client.ping()
    except RedisDown:
        return False


@dataclass
class RedisServer:
    port: int
    folder: Path
    password: str = ""
    durable: bool = False
    process: subprocess.Popen | None = None

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        binary = shutil.which("redis-server")
        if binary is None:
            pytest.fail("redis-server is not installed: apt-get install -y redis-server", pytrace=False)
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        if self.durable:
            options[-1:] = ["yes", "--appendfsync", "always"]
        if self.password:
            options += ["--requirepass", self.password]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen([binary, *options], cwd=self.folder, stdout=log, stderr=log)
        with Redis(port=self.port, password=self.password or None) as client:
            for _ in range(200):
                if answers(client):
                    return
                time.sleep(0.02)
        pytest.fail(f"redis-server did not answer: {(self.folder / 'redis.log').read_text()}", pytrace=False)

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def flush(self):
        with Redis(port=self.port) as client:
            client.flushall()


@contextmanager
def redis_running(folder, *, port=None, password="", durable=False):
    server = RedisServer(port or free_port(), folder, password, durable)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def signed(method, target, body=b"", *, tenant="team", agent_id=ID, secret=SECRET, **over):
    """The headers of one signed request."""
    made = {"key_id": "default", "now_ms": time.time_ns() // 1_000_000, "nonce": secrets.token_urlsafe(18), **over}
    return signing.headers(secret, method=method, target=target, tenant=tenant, agent_id=agent_id, body=body, **made)


@dataclass
class Outsider:
    """A caller outside the cluster; `ask` gives (status, body)."""

    url: str
    session: aiohttp.ClientSession

    async def ask(self, method, target, document=None, *, headers=None, **who):
        body = b"" if document is None else document if isinstance(document, bytes) else json.dumps(document).encode()
        proof = signed(method, target, body, **who) if headers is None else headers
        async with self.session.request(method, self.url + target, data=body or None, headers=proof) as answer:
            text = await answer.read()
            return answer.status, json.loads(text) if answer.content_type == "application/json" else text

    async def syscall(self, name, params=None, **who):
        return await self.ask("POST", f"/v1/syscall/{name}", {"agent_id": ID, "params": params or {}}, **who)


class Echo:
    """Tools whose result is their params; `hold` makes them wait."""

    def __init__(self):
        self.asked = []
        self.hold = None

    async def invoke(self, endpoint, ask, *, idempotent):
        self.asked.append((endpoint, json.loads(bytes(ask.params))))
        if self.hold is not None:
            await self.hold.wait()
        if b"boom" in bytes(ask.params):
            raise errors.UpstreamFailed("the tool crashed")
        return bytes(ask.params)

    async def close(self):
        pass


def settlement(**policy):
    """A cluster with agent `a` of tenant `team`, a Tool and a policy of revision 1."""
    cluster, bundle = testing.FakeCluster(), testing.bundle(**policy)
    cluster.put(testing.agent("team", "a", capabilities={"network": True}))
    cluster.put(testing.tool("team", "echo", io={"input": {"schema": "text:string"}}))
    cluster.put(testing.bundle_map(bundle))
    cluster.put(testing.pointer(bundle, revision=1))
    return cluster


@dataclass
class Scene:
    url: str
    kernel: app.Kernel
    cluster: testing.FakeCluster
    store: testing.FailingStore
    tools: Echo
    session: aiohttp.ClientSession

    @property
    def syscalls(self):
        """The syscall path's own app."""
        return self.kernel.asgi._syscalls

    @property
    def outsider(self):
        return Outsider(self.url, self.session)


@asynccontextmanager
async def scene(cluster=None, *, store=None, ready=True, linger_s=0.0, **over):
    """A kernel on loopback, over a store that can be taken down."""
    cluster, store, tools = cluster or settlement(), store or testing.FailingStore(), Echo()
    kernel = app.assemble(**{"store": store, "keys": KEYS, "cluster": cluster, "tools": tools, **over})
    async with testing.started(kernel, linger_s=linger_s) as url, aiohttp.ClientSession() as session:
        if ready:
            await asyncio.wait_for(kernel.grants.wait_ready(), 5)
        yield Scene(url, kernel, cluster, store, tools, session)


async def until(holds, *, within_s=5.0):
    """Wait until a predicate holds, plain or async."""
    deadline = time.monotonic() + within_s
    while True:
        found = holds()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError("it never came to hold")
        await asyncio.sleep(0.01)
