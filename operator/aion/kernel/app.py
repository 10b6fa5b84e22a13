"""The kernel, put together: one function, whatever store, keys and cluster it stands on.

It stands apart so that a cluster, a laptop and a test run the same kernel and differ only in what they hand over. It must
never read the environment, nor open anything by itself.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from aion.api import auditchain, errors, grant, syscall
from aion.api import channel as frames
from aion.dialects.served import Served
from aion.kernel import audits, openapi, probes, refusal, routes, scope, stream
from aion.kernel.auth import Authority, Either, Gateways, Signed, Tokens
from aion.kernel.bodymac import BodyMac
from aion.kernel.bus import Bus
from aion.kernel.channel import Channels
from aion.kernel.clock import wall_ms
from aion.kernel.cluster import Cluster
from aion.kernel.dispatch import Dispatch
from aion.kernel.edge import Edge, Guarded, GuardedGateways
from aion.kernel.external import Door, External, TenantTools
from aion.kernel.grants import Grants, Policy
from aion.kernel.intake import App
from aion.kernel.leaving import Leaving
from aion.kernel.metrics import KernelMetrics
from aion.kernel.oidc import Oidc
from aion.kernel.policysource import PolicySource
from aion.kernel.purses import Purses
from aion.kernel.rates import Rates
from aion.kernel.recorder import Recorder
from aion.kernel.registry import Registry
from aion.kernel.residents import Residents
from aion.kernel.reviews import Reviews
from aion.kernel.store import Store
from aion.kernel.tenantkeys import TenantKeys
from aion.kernel.unsigned import Unsigned
from aion.serving.limits import Limits
from aion.serving.server import Server
from aion.syscalls.model_generate import ModelGenerate, ModelKeys
from aion.syscalls.net_fetch import NetFetch
from aion.syscalls.router import Router
from aion.syscalls.tool_invoke import ToolInvoke
from aion.syscalls.toolchannels import Tools
from aion.telemetry import metrics, spans

CANCEL_AGAIN_S = 0.2

CONNECTIONS = 8192
"""At once, gateways' channels among them: 80 MiB at most while they are idle."""

STALLED_S = 60.0
"""Who leaves events unread for so long is cut, and comes back with `since`."""


class ToolCaller(Tools, Protocol):
    """How tools are called, and that it holds connections."""

    async def close(self) -> None:
        """End every connection."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One replica: what it serves, what runs behind it, and what others may look at."""

    asgi: App
    registry: Registry
    grants: Grants
    store: Store
    bus: Bus
    recorder: Recorder
    purses: Purses
    tools: ToolCaller
    models: ModelGenerate | None
    dialects: Served | None
    tracer: spans.Spans
    background: tuple[scope.Work, ...]
    limits: Limits
    leaving: Leaving

    @contextlib.asynccontextmanager
    async def serving(
        self, on: Sequence[socket.socket], *, grace_s: float, linger_s: float = 0.0
    ) -> AsyncIterator[None]:
        """Serve on these sockets, with the background work, until the context is left; then end within the grace.

        Before that it lingers: not ready any more, but serving, until whoever sends callers here has noticed. Work that breaks ends the context with its error: a kernel that no longer follows its cluster must not serve on.
        """
        server = Server()
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(work()) for work in self.background]
                for each in on:
                    await server.listen(each, self.asgi, limits=self.limits, websockets=True)
                try:
                    yield
                    self.leaving.begin(spread_s=linger_s)
                    server.retire()
                    await asyncio.sleep(linger_s)
                finally:
                    self.leaving.begin()
                    self.bus.end()
                    await server.close(within_s=grace_s)
                    await _end(running)
        finally:
            if self.dialects is not None:
                await self.dialects.close()
            await self.recorder.close()
            await self.purses.close()
            await self.tools.close()
            if self.models is not None:
                await self.models.close()
            await self.store.close()
            await asyncio.to_thread(self.tracer.close)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they are over: in Python 3.11 a write of redis-py's may lose a cancel that meets its end."""
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=CANCEL_AGAIN_S)


def assemble(
    *,
    store: Store,
    keys: TenantKeys,
    cluster: Cluster | None = None,
    namespace: str = "aion-system",
    namespaces: Sequence[str] = (),
    policy: Policy | None = None,
    tools: ToolCaller | None = None,
    tracer: spans.Spans | None = None,
    replica: str = "kernel",
    audience: str = "aion-kernel",
    silent_after_s: int = 90,
    default_ceiling: tuple[str, ...] | None = None,
    anyone: bool = False,
    backends: Mapping[str, grant.Backend] = MappingProxyType({}),
    model_keys: ModelKeys | None = None,
    open_as: str = "",
    oidc: Oidc | None = None,
    rates: Rates | None = None,
    connections: int = CONNECTIONS,
) -> Kernel:
    """Put a kernel together.

    With a `cluster`, Agents, Tools, tokens and the policy come from there, the policy from `namespace`; Agents, Tools and
    Tenants only of `namespaces` where some are named. Without one,
    `policy` is in force from the start, the registry is the caller's to fill, and only signatures prove who asks.
    `default_ceiling` is the most that agents of a namespace without a Tenant may be allowed; None: no ceiling.
    `anyone` grants agents that never registered all that policy allows: for a laptop.
    `backends` are what model.generate may be routed to. Agents outside the cluster may ask models only where there are
    `model_keys`: a cluster's kernel holds none, so there the gateways alone ask. `connections` is how many it has at once.
    `open_as` is the agent as whom anybody who reaches the port speaks the dialects, unsigned: for a laptop.
    `oidc` is whose tokens people bring, and what their groups may do.
    `rates` is how often somebody may ask this replica; None: as often as they like, as on a laptop.
    """
    collected = metrics.registry()
    counted = KernelMetrics(collected)
    registry = Registry(default_ceiling=default_ceiling)
    grants = Grants(registry, policy, backends=backends)
    tools = tools or TenantTools(keys)
    tracer = tracer or spans.NoSpans()
    bus = Bus(store, dropped=counted.dropped_by_stream)
    chain = auditchain.genesis(f"{replica}/{secrets.token_hex(8)}", wall_ms())
    recorder = Recorder(store, chain=chain, metrics=counted)
    older = BodyMac(keys, allowed=registry.takes_body_mac, used=counted.legacy_macs.inc)
    signed = Signed(keys, store, now_ms=wall_ms, older=older)
    residents = Residents(grants, store, anyone=anyone)
    purses = Purses(store, grants, recorder, holder=chain)
    background: list[scope.Work] = [bus.run, recorder.run, purses.run]
    authority: Authority = signed
    outside: Authority = signed
    source: PolicySource | None = None
    leaving = Leaving()
    channels: Channels | None = None
    if cluster is None:
        registry.agents.replace([])
        registry.tools.replace([])
        registry.tenants.replace([])
    else:
        source = PolicySource(cluster, namespace=namespace, grants=grants, store=store, metrics=counted)
        background += [*scope.follow(cluster, registry, namespaces=namespaces), source.run]
        tokens = Tokens(Reviews(cluster), audience=audience, agents=registry.agents)
        authority = Either(_bearers(tokens, oidc), signed)
        gateways: Gateways = tokens
        if rates is not None:
            edge = Edge(rates)
            authority, outside, gateways = (
                Guarded(authority, edge),
                Guarded(signed, edge),
                GuardedGateways(tokens, edge),
            )
        channels = Channels(
            tokens=gateways, leaving=leaving, grants=grants, store=store, metrics=counted, silent_after_s=silent_after_s
        )
    if policy is not None:
        counted.policy(policy.revision, policy.digest)

    control = _control(counted)
    control.include_router(
        routes.routes(authority=authority, residents=residents, grants=grants, store=store, metrics=counted)
    )
    control.include_router(audits.routes(authority=authority, store=store))
    control.include_router(stream.routes(bus, authority, counted))
    control.include_router(
        probes.routes(leaving=leaving, store=store, grants=grants, source=source, registry=collected)
    )
    if channels is not None:
        control.add_api_websocket_route(frames.PATH, channels.serve)
    control.add_api_websocket_route("/{path:path}", _no_such_connection)

    door = Door(purses.of)
    models = None if model_keys is None else ModelGenerate(model_keys)
    router = Router(
        door=door,
        handlers=(ToolInvoke(tools), NetFetch(), *((models,) if models else ())),
        audit=recorder,
        metrics=metrics.SyscallMetrics(collected, syscall.NAMES),
        tracer=tracer,
    )
    external = External(
        authority=outside, residents=residents, door=door, router=router, recorder=recorder, metrics=counted
    )
    unsigned = (
        Unsigned(router, door=door, residents=residents, recorder=recorder, agent_id=open_as) if open_as else None
    )
    dialects = unsigned.dialects if unsigned else None
    return Kernel(
        asgi=Dispatch(
            syscalls=external, control=control, dialects=unsigned, spoken_at=dialects.paths if dialects else ()
        ),
        registry=registry,
        grants=grants,
        store=store,
        bus=bus,
        recorder=recorder,
        purses=purses,
        tools=tools,
        models=models,
        dialects=dialects,
        tracer=tracer,
        background=tuple(background),
        limits=Limits(connections=connections, stalled_s=STALLED_S),
        leaving=leaving,
    )


def _bearers(tokens: Tokens, oidc: Oidc | None) -> Authority:
    """Return who judges bearer tokens; the JWT library is loaded only where there is an issuer."""
    if oidc is None:
        return tokens
    from aion.kernel.jwks import Jwks
    from aion.kernel.people import Bearers

    return Bearers(tokens, oidc, keys=Jwks(oidc.issuer, ca=oidc.ca))


def _control(counted: KernelMetrics) -> FastAPI:
    """Return a FastAPI app that refuses by the contract, whatever went wrong."""
    control = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)

    @control.exception_handler(errors.SyscallError)
    async def refused(_request: Request, error: errors.SyscallError) -> Response:
        counted.refused.labels(error.code).inc()
        return refusal.response(error)

    @control.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return refusal.response(errors.NoSuchSyscall(f"got path {request.url.path[:80]!r}: see /openapi.json"))
        return refusal.response(errors.BadRequest(f"{request.method} {request.url.path[:80]}: {error.detail}"))

    @control.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        return refusal.response(errors.BadParams(f"the request cannot be read: {error.errors()[:1]}"))

    @control.exception_handler(Exception)
    async def broken(_request: Request, _error: Exception) -> Response:
        # starlette raises it again behind our back, and uvicorn logs it with its traceback
        return refusal.response(errors.Unavailable("an internal error, see the kernel's log"))

    document = openapi.Once(control)

    @control.get("/openapi.json", include_in_schema=False)
    async def described() -> Response:
        return Response(document.json(), media_type="application/json")

    return control


async def _no_such_connection(socket: WebSocket) -> None:
    gone = errors.NoSuchSyscall(f"got path {socket.url.path[:80]!r}, expected /v1/events/stream or /v1/channel")
    await socket.send_denial_response(refusal.response(gone))
