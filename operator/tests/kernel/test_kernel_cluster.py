"""The API server's client: four verbs over real HTTP, and every failure an ApiError."""

import asyncio
import contextlib

import pytest
from kernel_apiserver import TOKEN, served
from kernel_scene import free_port, settlement

from aion.kernel import cluster, scope, testing
from aion.kernel.cluster import ApiError, ApiServer


@contextlib.asynccontextmanager
async def client(folder, fake=None, *, token=TOKEN):
    async with served(fake or settlement()) as (face, url):
        (folder / "token").write_text(f"{token}\n")
        server = ApiServer(url, token_file=folder / "token", ca_file=None)
        try:
            yield server, face
        finally:
            await server.close()


async def test_an_object_is_read_and_one_that_is_not_there_is_none(tmp_path):
    async with client(tmp_path) as (server, _):
        found = await server.get(testing.path_of(testing.agent("team", "a")))
        assert found["metadata"]["name"] == "a"
        assert await server.get(testing.path_of(testing.agent("team", "b"))) is None


async def test_a_collection_is_read_page_by_page(tmp_path):
    fake = testing.FakeCluster()
    for n in range(3):
        fake.put(testing.agent("team", f"a{n}"))
    async with client(tmp_path, fake) as (server, face):
        one = await server.list(scope.AGENTS)
        two = await server.list(scope.AGENTS, page=one.metadata.next_page)
        assert [each["metadata"]["name"] for each in [*one.items, *two.items]] == ["a0", "a1", "a2"]
        assert one.metadata.resource_version == "4"
        assert face.queries[0] == {"limit": "500"}


async def test_a_watch_yields_whole_events_however_they_were_cut(tmp_path):
    fake = settlement()
    async with client(tmp_path, fake) as (server, face):
        position = (await server.list(scope.AGENTS)).metadata.resource_version
        seen = []

        async def follow():
            seen.extend(
                [(e.type, e.object["metadata"]["name"]) async for e in server.watch(scope.AGENTS, since=position)]
            )

        following = asyncio.create_task(follow())
        await asyncio.sleep(0.05)
        fake.put(testing.agent("team", "b"))
        fake.put(testing.agent("team", "b", priority=9))
        fake.delete(testing.agent("team", "b"))
        await asyncio.sleep(0.05)
        fake.end_watches()
        await asyncio.wait_for(following, 2)
        assert seen == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]
        assert {"watch": "1", "allowWatchBookmarks": "true"}.items() <= face.queries[-1].items()


async def test_an_expired_watch_says_gone(tmp_path):
    fake = settlement()
    async with client(tmp_path, fake) as (server, _):
        fake.forget()
        (event,) = [event async for event in server.watch(scope.AGENTS, since="1")]
        assert (event.type, event.object["code"]) == ("ERROR", 410)


async def test_a_review_is_sent_and_comes_back_with_its_status(tmp_path):
    fake = settlement()
    token = fake.gateway_token("team", "a", pod="a-1")
    async with client(tmp_path, fake) as (server, _):
        spec = {"token": token, "audiences": ["aion-kernel"]}
        review = await server.create("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": spec})
        assert review["status"]["user"]["username"] == "system:serviceaccount:team:agent-a"


async def test_a_refusal_carries_status_and_message(tmp_path):
    async with client(tmp_path, token="another") as (server, _):
        with pytest.raises(ApiError, match="401: Unauthorized") as refused:
            await server.list(scope.AGENTS)
        assert refused.value.status == 401
        with pytest.raises(ApiError, match="401"):
            async for _ in server.watch(scope.AGENTS, since="1"):
                pass


@pytest.mark.parametrize("body", [b"<html>a proxy's own page</html>", b"[1]\n", b"7", b""])
async def test_an_answer_that_is_not_the_api_servers_is_an_api_error(tmp_path, body):
    async with client(tmp_path) as (server, face):
        face.garble = body
        with pytest.raises(ApiError):
            await server.list(scope.AGENTS)
        with pytest.raises(ApiError):
            await server.create("/apis/authentication.k8s.io/v1/tokenreviews", {})
        if body:
            with pytest.raises(ApiError):
                await anext(server.watch(scope.AGENTS, since="1"))


async def test_a_watch_event_without_an_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "EVENT_BYTES", 1000)
    async with client(tmp_path) as (server, face):
        face.garble = b"x" * 5000
        with pytest.raises(ApiError, match="more than 1000 bytes"):
            async for _ in server.watch(scope.AGENTS, since="1"):
                pass


async def test_nobody_there_and_no_token_are_api_errors_without_a_status(tmp_path):
    server = ApiServer(f"http://127.0.0.1:{free_port()}", token_file=tmp_path / "token", ca_file=None)
    with pytest.raises(ApiError, match="no token to ask with") as missing:
        await server.get("/api")
    (tmp_path / "token").write_text(TOKEN)
    with pytest.raises(ApiError, match="no API server") as nobody:
        await server.get("/api")
    assert missing.value.status == nobody.value.status == 0
    await server.close()


async def test_a_rotated_token_is_read_again_and_a_file_that_is_gone_for_a_moment_does_not_matter(
    tmp_path, monkeypatch
):
    async with client(tmp_path, token="old") as (server, _):
        with pytest.raises(ApiError, match="401"):
            await server.list(scope.AGENTS)
        (tmp_path / "token").write_text(TOKEN)
        with pytest.raises(ApiError, match="401"):
            await server.list(scope.AGENTS)
        monkeypatch.setattr(cluster, "TOKEN_REREAD_S", 0.0)
        await server.list(scope.AGENTS)
        (tmp_path / "token").unlink()
        await server.list(scope.AGENTS)
