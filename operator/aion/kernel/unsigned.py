"""The dialects for whoever is on this machine, without a signature: for `aionctl kernel dev` alone.

It stands apart from `external` because clients that know nothing of AION-OS cannot sign, and here they need not: they all
speak as one agent. Whoever reaches the port may call, so it must never be served beyond loopback, nor in a cluster, where an
agent's own gateway serves the same dialects, knows it by its socket, and has a journal: here a record is in the store
right after the answer, not before it.
"""

from aion.api import errors, ids
from aion.dialects import rim
from aion.dialects.served import Served
from aion.kernel import intake, refusal
from aion.kernel.external import MAX_BODY, Door
from aion.kernel.intake import Message, Receive, Send
from aion.kernel.recorder import Recorder
from aion.kernel.residents import Residents
from aion.syscalls.call import Caller
from aion.syscalls.router import Router


class Unsigned:
    """The raw ASGI app of the dialects' paths."""

    def __init__(self, router: Router, *, door: Door, residents: Residents, recorder: Recorder, agent_id: str) -> None:
        tenant, _ = ids.parse_agent_id(agent_id)
        self._caller = Caller(tenant, agent_id, via="loopback")
        self._door = door
        self._residents = residents
        self._recorder = recorder
        self.dialects = Served(router, standing=lambda who: door.standing(who, who.agent_id))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request; its path is one of the dialects'."""

        async def read(receive: Receive) -> bytes:
            return await intake.whole(scope, receive, limit=MAX_BODY)

        face = self.dialects.at(scope["path"])
        try:
            self._door.admit(await self._residents.grant(self._caller.agent_id))
            if face is None:
                raise errors.NoSuchSyscall(f"got path {scope['path'][:80]!r}")
        except errors.SyscallError as refused:
            body = refusal.body(refused)
            length = (b"content-length", b"%d" % len(body))
            headers = [(b"content-type", b"application/json"), length]
            await send({"type": "http.response.start", "status": refused.http_status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        try:
            await rim.serve(face, scope, receive, send, caller=self._caller, read=read)
        finally:
            await self._recorder.kept()
