"""`POST /v1/syscall/{name}` for agents outside the cluster: proof, grant, the shared router, and the record kept first.

It stands apart from `routes` because it is the one path where every microsecond is a caller's: raw ASGI in, bytes out.
It must never answer before the record of the call is in the store.
"""

import secrets
from collections.abc import Callable

import structlog

from aion.api import errors, keyids, signing
from aion.api import grant as grants
from aion.kernel import intake, refusal, residents
from aion.kernel.auth import Asked, Authority, Caller
from aion.kernel.clock import wall_ms
from aion.kernel.intake import Message, Receive, Send
from aion.kernel.metrics import KernelMetrics
from aion.kernel.recorder import Recorder
from aion.kernel.residents import Residents
from aion.kernel.tenantkeys import Ring, TenantKeys
from aion.syscalls import call as calls
from aion.syscalls import rights, router
from aion.syscalls.budgets import Ledger
from aion.syscalls.purse import Purse
from aion.syscalls.toolchannels import ToolChannels
from aion.syscalls.toollink import Ask

PREFIX = "/v1/syscall/"
MAX_BODY = 8 << 20
"""Nothing larger is read, whatever policy says: a tool takes 256 KiB, a file write a few MiB."""

STANDINGS = 10_000
"""Agents whose account is remembered; each is some KiB."""

_log = structlog.get_logger()


class Door:
    """The router's door: standings of agents that were let in, by id. An agent's account outlives its grants."""

    def __init__(self, purse: Callable[[grants.Grant], Purse]) -> None:
        self._purse = purse
        self._standings: dict[str, calls.Standing] = {}

    def admit(self, granted: grants.Grant) -> None:
        """Let an agent in with these rights."""
        known = self._standings.pop(granted.agent_id, None)
        if known is None:
            known = calls.Standing(rights.of(granted), Ledger(purse=self._purse(granted)))
        elif known.rights.grant != granted:
            known.rights = rights.of(granted)
            self._purse(granted)
        self._standings[granted.agent_id] = known  # at the end: the one heard last is forgotten last
        if len(self._standings) > STANDINGS:
            del self._standings[next(iter(self._standings))]

    def standing(self, caller: calls.Caller, agent_id: str) -> calls.Standing:
        """Return the standing of the agent that speaks; raises TenantMismatch, PolicyDenied or BadRequest."""
        speaks = caller.agent_id or agent_id
        found = self._standings.get(speaks)
        if found is None:
            raise errors.BadRequest("which agent speaks? Give agent_id in the body, or sign X-Aion-Agent-Id")
        if found.rights.tenant != caller.tenant:
            raise errors.TenantMismatch(
                f"{speaks} belongs to another tenant than {caller.tenant!r}", rule="identity.tenant"
            )
        return router.owner_only(found, agent_id)


class TenantTools:
    """Tools of every tenant: a connection is signed with the key of the tenant whose agent calls."""

    def __init__(self, keys: TenantKeys) -> None:
        self._keys = keys
        self._channels: dict[str, ToolChannels] = {}
        self._newest: dict[str, tuple[str, bytes]] = {}

    async def invoke(self, endpoint: str, ask: Ask, *, idempotent: bool) -> bytes:
        """Call a tool with its tenant's key; raises SyscallError."""
        tenant = ask.context.tenant
        self._newest[tenant] = _newest(await self._keys.ring(tenant), tenant=tenant, now_s=wall_ms() // 1000)
        channels = self._channels.get(tenant)
        if channels is None:
            channels = self._channels[tenant] = ToolChannels(lambda target: self._sign(tenant, target))
        return await channels.invoke(endpoint, ask, idempotent=idempotent)

    async def close(self) -> None:
        """End every connection."""
        for channels in self._channels.values():
            await channels.close()

    def _sign(self, tenant: str, target: str) -> dict[str, str]:
        key_id, secret = self._newest[tenant]
        return signing.headers(
            secret,
            method="GET",
            target=target,
            tenant=tenant,
            key_id=key_id,
            now_ms=wall_ms(),
            nonce=secrets.token_urlsafe(18),
        )


def _newest(ring: Ring, *, tenant: str, now_s: int) -> tuple[str, bytes]:
    """Return the newest key that signs already; raises Unavailable without one."""
    in_force = [key_id for key_id in ring if keyids.signs_from(key_id) <= now_s]
    if not in_force:
        raise errors.Unavailable(f"tenant {tenant} has no key to call its tools with")
    key_id = max(in_force, key=lambda each: (keyids.signs_from(each), each))
    return key_id, ring[key_id]


class External:
    """The raw ASGI app of the syscall path."""

    def __init__(
        self,
        *,
        authority: Authority,
        residents: Residents,
        door: Door,
        router: router.Router,
        recorder: Recorder,
        metrics: KernelMetrics,
    ) -> None:
        self._authority = authority
        self._residents = residents
        self._door = door
        self._router = router
        self._recorder = recorder
        self._metrics = metrics

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        name = scope["path"].removeprefix(PREFIX)
        try:
            request = Asked.of(scope, await intake.whole(scope, receive, limit=MAX_BODY))
            reply = await self.answer(name, request)
        except errors.SyscallError as refused:
            reply = self._refused(refused)
        except Exception:  # noqa: BLE001 - the outermost rim of a request: a bug is answered like any failure
            _log.exception("syscall.broke", syscall=name[:64])
            reply = self._refused(errors.Unavailable("an internal error, see the kernel's log"))
        length = (b"content-length", b"%d" % len(reply.body))
        await send({"type": "http.response.start", "status": reply.status, "headers": [*reply.headers, length]})
        await send({"type": "http.response.body", "body": reply.body})

    def _refused(self, error: errors.SyscallError) -> router.Reply:
        self._metrics.refused.labels(error.code).inc()
        extra = tuple((name.lower().encode(), value.encode()) for name, value in refusal.headers(error).items())
        return router.Reply(error.http_status, ((b"content-type", b"application/json"), *extra), refusal.body(error))

    async def answer(self, name: str, request: Asked) -> router.Reply:
        """Return the answer to one syscall; raises SyscallError where the caller or the record is in doubt."""
        if request.method != "POST":
            raise errors.BadRequest(f"got {request.method}, expected POST {PREFIX}<name>")
        caller = await self._authority.caller(request, path=PREFIX + name)
        if caller.tenant is None or caller.via != "hmac":
            raise errors.PolicyDenied(
                "here agents outside the cluster call, by signature; in a Pod its gateway answers",
                rule="identity.outside",
            )
        agent_id = caller.agent_id or residents.named(request.body)
        if agent_id:
            Caller(tenant=caller.tenant, agent_id="", via=caller.via).owns(agent_id)
            self._door.admit(await self._residents.grant(agent_id))
        reply = await self._router.handle(
            name, request.body, calls.Caller(caller.tenant, caller.agent_id, via=caller.via)
        )
        await self._recorder.kept()
        return reply
