"""What the agent sees: `POST /v1/syscall/{name}`, the dialects it speaks already, and `GET /v1/admit` for its launcher.

Apart from `podface` because the two are served on different sockets to different people. The syscall path is the hot
one: no framework, no task, no log on success. It must never answer a syscall but through the router, so that nothing is
done without a record.
"""

import asyncio

from aion.api import errors, syscall
from aion.dialects import rim, streaming
from aion.gateway import asgi
from aion.gateway.admission import Admission
from aion.gateway.asgi import JSON, Receive, Scope, Send
from aion.gateway.door import Door
from aion.syscalls.call import Caller
from aion.syscalls.router import Reply, Router
from aion.syscalls.stream import Stream

PREFIX = "/v1/syscall/"
ADMIT = "/v1/admit"
_CUT = len(PREFIX)


class AgentFace:
    """The app of the agent's sockets."""

    def __init__(
        self, router: Router, *, door: Door, admission: Admission, caller: Caller, dialects: rim.Faces
    ) -> None:
        self._router = router
        self._dialects = dialects
        self._door = door
        self._admission = admission
        self._caller = caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path: str = scope["path"]
        if path.startswith(PREFIX) and scope["method"] == "POST":
            reply = await self._syscall(path[_CUT:], receive)
            if isinstance(reply, Stream):
                await streaming.write(reply, streaming.AionWriter(), receive=receive, send=send)
                return
            headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            await send({"type": "http.response.body", "body": reply.body})
        elif path == ADMIT:
            await self._admit(receive, send)
        elif (face := self._dialects.at(path)) is not None:
            await rim.serve(face, scope, receive, send, caller=self._caller, read=self._read)
        else:
            served = ", ".join([f"POST {PREFIX}<name>", *self._dialects.paths])
            error = errors.NoSuchSyscall(f"got {scope['method']} {path[:80]}, expected {served}")
            await asgi.answer(send, error.http_status, syscall.failure(error, syscall.Usage(), ""))

    async def _read(self, receive: Receive) -> bytes:
        return await asgi.body(receive, most=self._door.max_body_bytes)

    async def _syscall(self, name: str, receive: Receive) -> Reply | Stream:
        try:
            request = await self._read(receive)
        except errors.SyscallError as unread:
            return self._router.refuse(name, self._caller, unread)
        return await self._router.serve(name, request, self._caller)

    async def _admit(self, receive: Receive, send: Send) -> None:
        """Let the agent's process begin, and stay until it ends: the launcher keeps this connection through exec."""
        if self._admission.stopping.is_set() or not await self._admission.may_begin():
            error = errors.Unavailable(self._admission.why_not())
            await asgi.answer(send, error.http_status, syscall.failure(error, syscall.Usage(), ""))
            return
        self._admission.begins()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [JSON]})
            await send({"type": "http.response.body", "body": b'{"status":"ok"}\n', "more_body": True})
            await self._end_of(receive)
        finally:
            self._admission.ends()

    async def _end_of(self, receive: Receive) -> None:
        """Wait for the agent's end, or for ours."""
        ours = asyncio.ensure_future(self._admission.stopped.wait())
        theirs = asyncio.ensure_future(_disconnect(receive))
        try:
            await asyncio.wait((ours, theirs), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ours.cancel()
            theirs.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
