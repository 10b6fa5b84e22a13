"""`/healthz`, `/readyz`, `/metrics`: what the kubelet and Prometheus ask, without proving who they are.

It stands apart because it is the one part of the API that anybody may read. It must never say more than whether each
dependency is there and why not, nor wait for one longer than the kubelet waits for us.
"""

import asyncio
from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, Field

from aion.api import errors
from aion.kernel.grants import Grants
from aion.kernel.leaving import Leaving
from aion.kernel.policysource import PolicySource
from aion.kernel.store import Store
from aion.telemetry import metrics

PING_S = 1.5
"""Below the probe's time-out of 3 s."""

OK = "ok"


class Health(BaseModel):
    """`GET /healthz`."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """`GET /readyz`."""

    ready: bool
    checks: dict[str, str] = Field(description="dependency -> ok, or what is missing")


def routes(
    *, leaving: Leaving, store: Store, grants: Grants, source: PolicySource | None, registry: CollectorRegistry
) -> APIRouter:
    """Return the three routes."""
    router = APIRouter(tags=["probes"])

    @router.get("/healthz", summary="Say that the process lives")
    async def healthz() -> Health:
        return Health()

    @router.get("/readyz", summary="Say whether every dependency is there", responses={503: {"model": Readiness}})
    async def readyz(response: Response) -> Readiness:
        checks = {"store": await _store(store), "cluster": _cluster(grants), "policy": _policy(grants, source)}
        if leaving.begun:
            checks["replica"] = "stopping"
        ready = all(said == OK for said in checks.values())
        response.status_code = 200 if ready else 503
        return Readiness(ready=ready, checks=checks)

    @router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
    async def page() -> Response:
        return Response(metrics.page(registry), media_type=metrics.CONTENT_TYPE.decode())

    return router


async def _store(store: Store) -> str:
    try:
        async with asyncio.timeout(PING_S):
            await store.ping()
    except TimeoutError:
        return f"the store did not answer within {PING_S} s"
    except errors.Unavailable as unavailable:
        return unavailable.message
    return OK


def _cluster(grants: Grants) -> str:
    return OK if grants.registry.synced else "Agents, Tools and Tenants have not been read from the API server yet"


def _policy(grants: Grants, source: PolicySource | None) -> str:
    """A policy that is in force is enough: one that was refused after it is told of in the log."""
    if grants.policy is not None:
        return OK
    return source.trouble if source is not None else "no policy is in force"
