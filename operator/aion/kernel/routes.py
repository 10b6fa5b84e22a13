"""The control API's own routes: agents and policy. Each says who asks, then answers from memory or the store.

It stands apart from `stream` and `channel`, which are conversations, and from `external`, which is hot. It must never
read a body before its size is bounded, nor let a tenant name another tenant: that is E_TENANT, never ignored.
"""

from typing import TypeVar

import msgspec
from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError

from aion.api import errors, strictjson
from aion.kernel import drafts, intake, openapi, views
from aion.kernel.auth import AGENTS_PATH, POLICY_PATH, Asked, Authority, Caller
from aion.kernel.clock import wall_ms
from aion.kernel.grants import Grants
from aion.kernel.metrics import KernelMetrics
from aion.kernel.residents import Heartbeat, Registration, Residents
from aion.kernel.store import Store

MAX_BODY = 256 << 10
"""A registration with its manifest; a heartbeat is a few hundred bytes."""

T = TypeVar("T", bound=BaseModel)


def routes(
    *, authority: Authority, residents: Residents, grants: Grants, store: Store, metrics: KernelMetrics
) -> APIRouter:
    """Return the routes over what a kernel is made of."""
    router = APIRouter()

    async def who(request: Request, *, path: str, body: bytes = b"") -> Caller:
        return await authority.caller(Asked.of(request.scope, body), path=path)

    async def told(request: Request, kind: type[T]) -> tuple[Caller, T]:
        """Return who sends, and what: the proof first, so that a stranger learns nothing of the form."""
        body = await intake.whole(request.scope, request.receive, limit=MAX_BODY)
        caller = await who(request, path=request.url.path, body=body)
        return caller, _read(kind, body)

    @router.post(
        "/v1/agent/register",
        tags=["agents"],
        summary="Register an agent that runs outside the cluster",
        responses=openapi.refusals(400, 401, 403, 422, 503),
        openapi_extra=_body_of(Registration),
    )
    async def register(request: Request) -> views.GrantView:
        caller, registration = await told(request, Registration)
        caller.owns(registration.agent_id)
        granted = await residents.register(registration)
        row = drafts.of_agent(
            "registered",
            tenant=granted.tenant,
            agent=granted.agent_id,
            now_ms=wall_ms(),
            version=registration.version,
            revision=granted.policy_revision,
        )
        await store.publish([row])
        return views.granted(granted)

    @router.post(
        "/v1/agent/heartbeat",
        tags=["agents"],
        summary="Say that an agent outside the cluster lives",
        responses=openapi.refusals(400, 401, 403, 422, 503),
        openapi_extra=_body_of(Heartbeat),
    )
    async def heartbeat(request: Request) -> views.GrantView:
        caller, beat = await told(request, Heartbeat)
        caller.owns(beat.agent_id)
        granted = await residents.heartbeat(beat)
        metrics.heartbeat(granted.tenant, granted.name)
        return views.granted(granted)

    @router.get(
        AGENTS_PATH,
        tags=["agents"],
        summary="List agents: a tenant's own, or all for an operator",
        responses=openapi.refusals(401, 403, 503),
        openapi_extra={"parameters": [{"name": "tenant", "in": "query", "schema": {"type": "string"}}]},
    )
    async def agents(request: Request) -> views.AgentList:
        caller = await who(request, path=AGENTS_PATH)
        tenant = caller.narrow(request.query_params.get("tenant"))
        declared = (agent for _, agent in grants.registry.agents.all())
        return views.agents(await store.sightings(), declared, tenant=tenant)

    @router.get(
        POLICY_PATH,
        tags=["policy"],
        summary="Show the policy in force: whole for an operator, else as it concerns the caller's tenant",
        responses=openapi.refusals(401, 403, 503),
    )
    async def policy(request: Request) -> views.PolicyView:
        caller = await who(request, path=POLICY_PATH)
        return views.policy(grants.in_force(), tenant=caller.tenant)

    return router


def _read(kind: type[T], body: bytes) -> T:
    strictjson.verify(body)
    try:
        return kind.model_validate(msgspec.json.decode(body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise errors.BadRequest(f"the body is not JSON: {error}") from None
    except ValidationError as invalid:
        found = [
            {"path": "".join(f"/{step}" for step in each["loc"]), "message": each["msg"]}
            for each in invalid.errors(include_url=False, include_input=False, include_context=False)[:8]
        ]
        first = found[0]
        raise errors.BadParams(
            f"the body at {first['path'] or '/'}: {first['message']}", details={"errors": found}
        ) from None


def _body_of(kind: type[BaseModel]) -> openapi.Json:
    schema = {"$ref": openapi.REF.format(model=kind.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
