"""What only Redis can do wrong: be away, be silent, lose its memory, be shared."""

import asyncio
import contextlib
import time

import pytest
from kernel_scene import free_port, redis_running
from redis import Redis

from aion.api import errors
from aion.kernel import redisstore
from aion.kernel.memorystore import MemoryStore
from aion.kernel.redisstore import RedisStore
from aion.kernel.store import Draft, Sighting


def draft(text="x", **more):
    return Draft("kernel.agents", "team", b'{"text":"%s"}' % text.encode(), **more)


@contextlib.asynccontextmanager
async def opened(url, now_ms):
    store = RedisStore(url, now_ms)
    try:
        yield store
    finally:
        await store.close()


async def every_method_is_unavailable(store):
    for asked in (
        store.ping(),
        store.publish([draft()]),
        store.record("j", [draft(n=1)]),
        store.read(0, limit=1),
        store.read(0, limit=1, wait_s=0.1),
        store.bounds(),
        store.find_audit("sc-1"),
        store.claim_nonce("n", ttl_ms=1),
        store.see(Sighting("agent://t/a", "t", "a", "hmac", 1), ttl_s=1),
        store.sighting("agent://t/a"),
        store.sightings(),
        store.forget("agent://t/a"),
    ):
        with pytest.raises(errors.Unavailable, match="nothing was kept"):
            await asked


async def test_every_method_raises_unavailable_while_nobody_answers():
    async with opened(f"redis://127.0.0.1:{free_port()}/0", lambda: 1) as store:
        await every_method_is_unavailable(store)


async def test_a_redis_that_restarts_is_used_again_and_its_numbers_only_rise(tmp_path):
    with redis_running(tmp_path) as server:
        now = {"ms": 1_000_000}
        async with opened(server.url, lambda: now["ms"]) as store:
            before = await store.publish([draft("before")])
            server.stop()
            with pytest.raises(errors.Unavailable):
                await store.publish([draft("lost")])
            server.start()
            now["ms"] += 5_000
            after = await store.publish([draft("after")])
            assert after > before
            bounds = await store.bounds()
            assert bounds.lost_after(before) == (before + 1, after - 1)


async def test_a_redis_that_accepts_and_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(redisstore, "ANSWER_S", 0.1)
    monkeypatch.setattr(redisstore, "LONGEST_READ_S", 0.1)

    async def swallow(reader, writer):
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, opened(f"redis://127.0.0.1:{port}/0", lambda: 1) as store:
        began = time.monotonic()
        for asked in (store.ping(), store.read(0, limit=1, wait_s=60)):
            with pytest.raises(errors.Unavailable):
                await asked
        assert time.monotonic() - began < 2


async def test_a_request_whose_answer_is_lost_is_not_sent_again():
    """A nonce that was claimed and asked for again would look like a replay of itself."""
    asked = []

    async def once(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                count = int(line[1:])
                words = []
                for _ in range(count):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                if words[0].upper() == b"HELLO":
                    writer.write(b"%1\r\n+proto\r\n:3\r\n")
                elif words[0].upper() == b"SET":
                    asked.append(words)
                    break
                else:
                    writer.write(b"+OK\r\n")
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, opened(f"redis://127.0.0.1:{port}/0", lambda: 1) as store:
        with pytest.raises(errors.Unavailable):
            await store.claim_nonce("n", ttl_ms=1000)
    assert len(asked) == 1


async def test_a_full_redis_refuses_and_nothing_is_half_kept(redis_server):
    with Redis(port=redis_server.port) as admin:
        async with opened(redis_server.url, lambda: 1) as store:
            last = await store.publish([draft()])
            admin.config_set("maxmemory-policy", "noeviction")
            admin.config_set("maxmemory", "1")
            try:
                with pytest.raises(errors.Unavailable):
                    await store.record("j", [draft(n=1, audit_id="sc-1")])
                with pytest.raises(errors.Unavailable):
                    await store.claim_nonce("n", ttl_ms=1000)
            finally:
                admin.config_set("maxmemory", "0")
            assert (await store.bounds()).newest == last
            assert (await store.record("j", [draft(n=1, audit_id="sc-1")])).fresh == 1


async def test_two_replicas_are_one_store(redis_server):
    one, other = (RedisStore(redis_server.url, lambda: 1_000) for _ in range(2))
    await asyncio.gather(*(store.publish([draft(str(n))]) for n in range(20) for store in (one, other)))
    rows = await other.read(0, limit=100)
    assert [row.seq for row in rows] == list(range(1_001, 1_041))
    assert await one.claim_nonce("n", ttl_ms=1000)
    assert not await other.claim_nonce("n", ttl_ms=1000)
    await one.close()
    await other.close()


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_old_rows_are_let_go_and_the_loss_is_known(kind, request):
    if kind == "memory":
        store = MemoryStore(time.monotonic, events_kept=100, audit_kept=100)
    else:
        url = request.getfixturevalue("redis_server").url
        store = RedisStore(url, lambda: 1_000, events_kept=100, audit_kept=100)
    for start in range(0, 1000, 250):
        await store.record("j", [draft(n=n + 1, audit_id=f"sc-{n}") for n in range(start, start + 250)])
    bounds = await store.bounds()
    assert 100 <= bounds.newest - bounds.oldest + 1 <= 300  # Redis trims by whole nodes of 100
    assert bounds.lost_after(0) == (bounds.birth, bounds.oldest - 1)
    assert (await store.find_audit("sc-999")).seq == bounds.newest
    assert await store.find_audit("sc-1") is None
    await store.close()


async def test_a_full_replay_memory_refuses_rather_than_forget():
    now = {"s": 0.0}
    store = MemoryStore(lambda: now["s"], nonces_kept=2)
    assert await store.claim_nonce("a", ttl_ms=1000)
    assert await store.claim_nonce("b", ttl_ms=1000)
    with pytest.raises(errors.Unavailable, match="replay cache is full"):
        await store.claim_nonce("c", ttl_ms=1000)
    now["s"] = 2.0
    assert await store.claim_nonce("c", ttl_ms=1000)
