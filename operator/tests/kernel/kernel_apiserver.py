"""The shipped fake of the API server behind real HTTP, so that the client and the whole process can be tested against it."""

import json
from contextlib import asynccontextmanager

from aion.kernel.cluster import ApiError
from aion.serving import sockets
from aion.serving.server import Server

TOKEN = "the-pods-own-token"


class HttpFace:
    """An ASGI app over a FakeCluster. `garble` is what it says instead of an answer, if not None."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.garble = None
        self.queries = []

    async def __call__(self, scope, receive, send):
        headers = dict(scope["headers"])
        query = dict(each.split("=", 1) for each in scope["query_string"].decode().split("&") if each)
        self.queries.append(query)
        if self.garble is not None:
            await answer(send, 200, self.garble)
        elif headers.get(b"authorization") != f"Bearer {TOKEN}".encode():
            await answer(send, 401, b'{"kind":"Status","message":"Unauthorized"}')
        else:
            try:
                await self.serve(scope, query, receive, send)
            except ApiError as refused:
                await answer(send, refused.status or 500, json.dumps({"message": str(refused)}).encode())

    async def serve(self, scope, query, receive, send):
        path = scope["path"]
        if scope["method"] == "POST":
            body, more = b"", True
            while more:
                message = await receive()
                body, more = body + message["body"], message.get("more_body")
            await answer(send, 201, json.dumps(await self.cluster.create(path, json.loads(body))).encode())
        elif "watch" in query:
            await self.watch(path, query, send)
        elif path.rsplit("/", 1)[1] in ("agents", "tools", "tenants", "policies"):
            page = await self.cluster.list(path, page=query.get("continue", ""))
            meta = {"resourceVersion": page.metadata.resource_version, "continue": page.metadata.next_page}
            await answer(send, 200, json.dumps({"kind": "List", "metadata": meta, "items": page.items}).encode())
        elif (found := await self.cluster.get(path)) is not None:
            await answer(send, 200, json.dumps(found).encode())
        else:
            await answer(send, 404, b'{"kind":"Status","message":"not found"}')

    async def watch(self, path, query, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        async for event in self.cluster.watch(path, since=query["resourceVersion"]):
            line = json.dumps({"type": event.type, "object": event.object}).encode() + b"\n"
            middle = len(line) // 2  # lines and chunks have nothing to do with each other
            for piece in (line[:middle], line[middle:]):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def answer(send, status, body):
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def served(cluster, *, port=0):
    """Gives the face and its URL."""
    face = HttpFace(cluster)
    server, bound = Server(), sockets.bind("127.0.0.1", port)
    await server.listen(bound, face)
    try:
        yield face, f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        cluster.end_watches()
        await server.close(within_s=1)
