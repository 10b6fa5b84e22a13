"""`GET /v1/audit…`: the audit read back: a page of it, one record, and how far each chain has come.

Apart from `routes` because what is read here is what others verify: rows leave as they were kept, byte for byte. A tenant's
caller sees its own tenant. It must never read the whole stream for one request: a page says where to go on.
"""

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from aion.api import errors
from aion.api.auditquery import Query
from aion.kernel import openapi
from aion.kernel.auth import AUDIT_PATH, Asked, Authority
from aion.kernel.store import Row, Store

SCANNED = 5_000
"""Rows that are looked at for one page, some 4 MiB of Redis: a rare record takes several requests to be found."""

LIMIT, MOST = 200, 1_000
"""Records of a page, by default and at most."""

_PARAMETERS: list[dict[str, Any]] = [
    {"name": name, "in": "query", "schema": schema, "description": said}
    for name, schema, said in (
        (
            "since",
            {"type": "integer"},
            "the seq after which to look: `next` of the page before; absent: from the oldest kept",
        ),
        ("newest", {"type": "integer"}, "instead of since: so many of the newest, oldest first"),
        ("limit", {"type": "integer", "maximum": MOST}, f"records of a page; {LIMIT} where absent"),
        ("tenant", {"type": "string"}, "one tenant, for an operator who may see all"),
        ("agent", {"type": "string"}, "an agent's id, or the end of it after a slash"),
        ("syscall", {"type": "string"}, "a syscall, or a pattern as memory.*"),
        ("decision", {"type": "string", "enum": ["allow", "deny", "error"]}, "what was decided"),
        ("code", {"type": "string"}, "an error's code, as E_POLICY"),
        ("from_ms", {"type": "integer"}, "ms since the epoch, included"),
        ("to_ms", {"type": "integer"}, "ms since the epoch, not included"),
    )
]

_PAGE: dict[int | str, openapi.Json] = {
    200: {
        "description": "`records` are events of topic kernel.syscalls, and of type `chain` where a chain broke; `next` is where "
        "to go on, null at the end.",
        "content": {"application/json": {}},
    }
}
_CHAINS: dict[int | str, openapi.Json] = {
    200: {
        "description": "`chains`: of each gateway's audit chain its name, the number of its newest record and that one's digest.",
        "content": {"application/json": {}},
    }
}


class Page(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of `GET /v1/audit`."""

    since: int = 0
    newest: int = 0
    limit: int = LIMIT
    tenant: str | None = None
    agent: str = ""
    syscall: str = ""
    decision: str = ""
    code: str = ""
    from_ms: int = 0
    to_ms: int = 0


def routes(*, authority: Authority, store: Store) -> APIRouter:
    """Return the routes over a store."""
    router = APIRouter(tags=["audit"])

    @router.get(
        AUDIT_PATH,
        summary="Read the audit in pages",
        response_class=Response,
        responses={**_PAGE, **openapi.refusals(400, 401, 403, 503)},
        openapi_extra={"parameters": _PARAMETERS},
    )
    async def page(request: Request) -> Response:
        caller = await authority.caller(Asked.of(request.scope), path=AUDIT_PATH)
        asked = _asked(dict(request.query_params))
        query = Query(
            tenant=caller.narrow(asked.tenant),
            agent=asked.agent,
            syscall=asked.syscall,
            decision=asked.decision,
            code=asked.code,
            from_ms=asked.from_ms,
            to_ms=asked.to_ms,
        )
        if asked.newest:
            rows = [row for row in await store.newest_audit(limit=SCANNED) if query.finds(row.body)]
            return _page(rows[-min(asked.newest, MOST) :], None)
        return _page(*await _look(store, query, since=asked.since, limit=max(1, min(asked.limit, MOST))))

    @router.get(
        AUDIT_PATH + "/chains",
        summary="Say how far each audit chain has come",
        response_class=Response,
        responses={**_CHAINS, **openapi.refusals(401, 403, 503)},
    )
    async def chains(request: Request) -> Response:
        caller = await authority.caller(Asked.of(request.scope), path=AUDIT_PATH)
        found = [
            {"chain": head.chain, "tenant": head.tenant, "n": head.upto, "digest": head.digest}
            for head in await store.chains()
            if caller.tenant in (None, head.tenant)
        ]
        return Response(msgspec.json.encode({"chains": found}), media_type="application/json")

    @router.get(
        AUDIT_PATH + "/{audit_id}",
        summary="Find the record of one syscall",
        response_class=Response,
        responses={
            200: {"description": "The event of topic kernel.syscalls.", "content": {"application/json": {}}},
            **openapi.refusals(401, 403, 404, 503),
        },
    )
    async def audit(request: Request, audit_id: str) -> Response:
        caller = await authority.caller(Asked.of(request.scope), path=AUDIT_PATH)
        row = await store.find_audit(audit_id)
        if row is None or caller.tenant not in (None, row.tenant):  # somebody else's is as good as none
            raise errors.NoSuchSyscall(f"no syscall of audit id {audit_id[:40]!r} is kept: unknown, or too old")
        return Response(row.json(), media_type="application/json")

    return router


async def _look(store: Store, query: Query, *, since: int, limit: int) -> tuple[list[Row], int | None]:
    """Return up to `limit` rows that are asked for, and where to go on; None where there is nothing after them."""
    found: list[Row] = []
    at, left = since, SCANNED
    while left > 0:
        wanted = min(left, MOST)
        rows = await store.audit(at, limit=wanted)
        for row in rows:
            at = row.seq
            if query.finds(row.body):
                found.append(row)
                if len(found) == limit:
                    return found, at
        if len(rows) < wanted:
            return found, None
        left -= len(rows)
    return found, at


def _page(rows: list[Row], following: int | None) -> Response:
    body = b'{"records":[%b],"next":%b}' % (b",".join(row.json() for row in rows), msgspec.json.encode(following))
    return Response(body, media_type="application/json")


def _asked(query: dict[str, str]) -> Page:
    try:
        asked = msgspec.convert(query, Page, strict=False)
    except msgspec.ValidationError as wrong:
        names = ", ".join(each["name"] for each in _PARAMETERS)
        raise errors.BadRequest(f"the query: {wrong}; expected any of {names}") from None
    if asked.decision and asked.decision not in ("allow", "deny", "error"):
        raise errors.BadRequest(f"got decision={asked.decision[:20]!r}, expected allow, deny or error")
    if asked.code and asked.code not in errors.BY_CODE:
        raise errors.BadRequest(f"got code={asked.code[:20]!r}, expected one of {', '.join(sorted(errors.BY_CODE))}")
    return asked
