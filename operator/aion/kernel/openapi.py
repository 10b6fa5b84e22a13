"""`/openapi.json`: what FastAPI knows of the routes, and what it cannot know: the error table and the syscall path.

It stands apart because the syscall path is served without FastAPI and yet is the first that a reader looks for. Made
once, from the same tables that the code answers by. It must never describe what is not served.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from aion.api import errors, ids, signing, syscall
from aion.kernel.residents import Heartbeat, Registration

Json = dict[str, Any]

REF = "#/components/schemas/{model}"

_BODIES: tuple[type[BaseModel], ...] = (Heartbeat, Registration)
"""Models that routes read by themselves, so that FastAPI does not know them."""

_ERROR = {"$ref": REF.format(model="Error")}


def by_status() -> dict[int, list[str]]:
    """Return the contract's error table: HTTP status -> codes, as `aion.api.errors` has it."""
    table: dict[int, list[str]] = {}
    for code, kind in errors.BY_CODE.items():
        table.setdefault(kind.http_status, []).append(code)
    return {status: sorted(table[status]) for status in sorted(table)}


def refusals(*statuses: int) -> dict[int | str, Json]:
    """Return how a route may refuse, for its `responses`; all of the table where no status is given.

    `default` stands for the rest, and keeps FastAPI from describing an error of its own.
    """
    table = by_status()
    content: Json = {"application/json": {"schema": _ERROR}}
    named: dict[int | str, Json] = {
        status: {"description": ", ".join(table[status]), "content": content} for status in (statuses or table)
    }
    return {**named, "default": {"description": "Refused; see `error.code`.", "content": content}}


class Once:
    """The document of an app, made when it is first asked for: by then every route is there."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._made = b""

    def json(self) -> bytes:
        """Return it as JSON."""
        if not self._made:
            self._made = msgspec.json.encode(document(self._app))
        return self._made


def document(app: FastAPI) -> Json:
    """Return the whole document."""
    made: Json = get_openapi(
        title="AION-OS kernel",
        version="v1",
        summary="Agents, syscalls, audit, policy and events of an AION-OS cluster.",
        description=_DESCRIPTION,
        routes=app.routes,
    )
    made["paths"]["/v1/syscall/{name}"] = {"post": _syscall()}
    components = made.setdefault("components", {})
    _, bodies = models_json_schema([(body, "validation") for body in _BODIES], ref_template=REF)
    components["schemas"] = {
        **components.get("schemas", {}),
        **bodies["$defs"],
        "Error": _error_schema(),
        "Syscall": _request_schema(),
        "Answer": _answer_schema(),
    }
    components["securitySchemes"] = {
        "hmac": {"type": "apiKey", "in": "header", "name": signing.SIGNATURE, "description": _HMAC},
        "bearer": {"type": "http", "scheme": "bearer", "description": _BEARER},
    }
    open_to_all = {"/healthz", "/readyz", "/metrics"}
    for path, operation in _operations(made):
        if path not in open_to_all:
            operation["security"] = [{"hmac": []}] + ([{"bearer": []}] if "/syscall/" not in path else [])
    return made


def _operations(made: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in made["paths"].items():
        for operation in methods.values():
            yield path, operation


def _syscall() -> Json:
    ok: Json = {
        "description": "Done.",
        "content": {"application/json": {"schema": {"$ref": REF.format(model="Answer")}}},
    }
    return {
        "tags": ["syscalls"],
        "summary": "Make one syscall",
        "operationId": "syscall",
        "parameters": [
            {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "enum": list(syscall.NAMES)}}
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": REF.format(model="Syscall")}}},
        },
        "responses": {"200": ok, **{str(status): said for status, said in refusals().items()}},
    }


def _request_schema() -> Json:
    text: Json = {"type": "string"}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "schema": {"const": syscall.SCHEMA},
            "syscall": {**text, "description": "as in the path, or absent"},
            "agent_id": {**text, "description": "agent://<tenant>/<name>"},
            "context": {
                "type": "object",
                "properties": {"task_id": text, "trace_id": text, "traceparent": text, "seq": {"type": "integer"}},
            },
            "caps_required": {"type": "array", "items": text},
            "params": {"type": "object"},
            "budget": {
                "type": "object",
                "properties": {
                    "usd_max": {"type": ["number", "string"]},
                    "latency_ms": {"type": "integer", "minimum": 1},
                },
            },
        },
    }


def _usage_schema() -> Json:
    number: Json = {"type": "number"}
    return {
        "type": "object",
        "properties": {
            "latency_ms": number,
            "cost_usd": number,
            "tokens_in": {"type": "integer"},
            "tokens_out": {"type": "integer"},
        },
    }


def _answer_schema() -> Json:
    text: Json = {"type": "string"}
    return {
        "type": "object",
        "required": ["status", "result", "usage", "engine", "audit_id"],
        "properties": {
            "status": {"const": "ok"},
            "result": {},
            "usage": _usage_schema(),
            "engine": {"type": "object", "properties": {"kind": text, "name": text}},
            "audit_id": {**text, "examples": [ids.audit_id(0, b"\0" * 10)]},
        },
    }


def _error_schema() -> Json:
    text: Json = {"type": "string"}
    said: Json = {
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": {**text, "enum": sorted(errors.BY_CODE)},
            "message": text,
            "rule": {**text, "description": "which rule of which policy revision said no"},
            "retry_after_ms": {"type": "integer"},
            "details": {"type": "object"},
        },
    }
    return {
        "type": "object",
        "required": ["status", "error"],
        "properties": {"status": {"const": "error"}, "error": said, "usage": _usage_schema(), "audit_id": text},
    }


_DESCRIPTION = "Errors, by HTTP status:\n\n" + "\n".join(
    f"- {status}: {', '.join(codes)}" for status, codes in by_status().items()
)
_HMAC = (
    f"HMAC version 1, with {signing.TENANT}, {signing.KEY_ID}, {signing.TIMESTAMP}, {signing.NONCE} and, for one agent, "
    f"{signing.AGENT}. The SDKs sign by themselves."
)
_BEARER = "A ServiceAccount token: a gateway's own, or one whose RBAC allows to get this path (nonResourceURLs)."
