# /// script
# requires-python = ">=3.11"
# dependencies = ["fastapi==0.165.0", "httptools==0.9.0", "httpx==0.28.1", "uvicorn==0.54.0", "uvloop==0.22.1"]
# ///
"""The gateway's job, written the way FastAPI's own guide teaches: body model, dependencies, response model, middleware.

It is a peer of the benchmark `gateway`, and stands apart from the project with an environment of its own (the lock beside
this file), because nothing of the project may come to need httpx. It must never be made slow on purpose: one connection
pool, uvloop, httptools, async dependencies, no access log.

    app.py BACKEND_URL AUDIT_FILE     serves on a free port of 127.0.0.1, and prints its address first
"""

import itertools
import logging
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import httpx
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.middleware.base import BaseHTTPMiddleware

BACKEND, AUDIT_FILE = sys.argv[1:]
AGENTS = {"agent://tenant-a/researcher": frozenset({"network"})}
TOOLS = {"web_search": frozenset({"network"})}
BUDGET_USD = 10.0
_numbers = itertools.count(1)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Context(Strict):
    task_id: str = Field(default="", max_length=256)
    trace_id: str = Field(default="", max_length=64)
    seq: int = 0


class Budget(Strict):
    usd_max: float = Field(default=1.0, ge=0)
    latency_ms: int = Field(default=30_000, gt=0, le=600_000)


class WebSearch(Strict):
    tool: Literal["web_search"]
    query: str = Field(min_length=1, max_length=400)
    limit: int = Field(default=5, ge=1, le=20)


class SyscallRequest(Strict):
    schema_: Literal["aion.syscall.v1"] = Field(alias="schema")
    syscall: str = Field(max_length=64)
    agent_id: str = Field(max_length=256)
    context: Context = Context()
    caps_required: list[str] = Field(default=[], max_length=16)
    params: dict[str, Any] = {}
    budget: Budget = Budget()


class Usage(BaseModel):
    latency_ms: float
    cost_usd: float = 0
    tokens_in: int = 0
    tokens_out: int = 0


class Engine(BaseModel):
    kind: str
    name: str


class SyscallResponse(BaseModel):
    status: Literal["ok"]
    result: dict[str, Any]
    usage: Usage
    engine: Engine
    audit_id: str


_params = TypeAdapter(WebSearch)
_audit = logging.getLogger("audit")
_audit.addHandler(logging.FileHandler(AUDIT_FILE))
_audit.setLevel(logging.INFO)


class AuditLog(BaseHTTPMiddleware):
    """One line of JSON a request."""

    async def dispatch(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        request.state.audit_id = f"sc-{next(_numbers):026d}"
        started = time.perf_counter()
        response = await call_next(request)
        _audit.info(
            '{"audit_id":"%s","path":"%s","status":%d,"latency_ms":%.3f}',
            request.state.audit_id, request.url.path, response.status_code, (time.perf_counter() - started) * 1000,
        )  # fmt: skip
        return response


async def agent(request: SyscallRequest) -> frozenset[str]:
    """The caller's capabilities."""
    if request.agent_id not in AGENTS:
        raise HTTPException(403, "E_POLICY: unknown agent")
    return AGENTS[request.agent_id]


async def capable(request: SyscallRequest, held: Annotated[frozenset[str], Depends(agent)]) -> None:
    """The tool's capabilities, and what the request says of itself."""
    needed = TOOLS.get(request.params.get("tool", ""), frozenset()) | frozenset(request.caps_required)
    if missing := needed - held:
        raise HTTPException(403, f"E_CAPABILITY: {min(missing)}")


async def affordable(request: SyscallRequest) -> None:
    """The call's budget within the agent's."""
    if request.budget.usd_max > BUDGET_USD:
        raise HTTPException(402, "E_BUDGET")


async def upstream(request: Request) -> httpx.AsyncClient:
    """The one client."""
    client: httpx.AsyncClient = request.app.state.client
    return client


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=256)
    async with httpx.AsyncClient(base_url=BACKEND, limits=limits, trust_env=False) as app.state.client:
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(AuditLog)


@app.post("/v1/syscall/{name}", response_model=SyscallResponse, dependencies=[Depends(capable), Depends(affordable)])
async def syscall(
    name: str, http: Request, request: SyscallRequest, client: Annotated[httpx.AsyncClient, Depends(upstream)]
) -> SyscallResponse:
    """Do one tool.invoke."""
    started = time.perf_counter()
    if name != request.syscall:
        raise HTTPException(400, "E_BAD_REQUEST: path and body name different syscalls")
    try:
        params = _params.validate_python(request.params)
    except ValidationError as wrong:
        raise HTTPException(422, wrong.errors(include_url=False)) from None
    answer = await client.post("/", json=params.model_dump(), timeout=request.budget.latency_ms / 1000)
    answer.raise_for_status()
    return SyscallResponse(
        status="ok",
        result=answer.json(),
        usage=Usage(latency_ms=(time.perf_counter() - started) * 1000),
        engine=Engine(kind="module", name="tooling/web_search@1.2.0"),
        audit_id=http.state.audit_id,
    )


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    print("{}:{}".format(*listening.getsockname()), flush=True)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[listening])
