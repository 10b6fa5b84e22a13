"""How the kernel says no over HTTP: the contract's error body, status and Retry-After.

It stands apart so that FastAPI's routes, WebSocket denials and the raw path answer alike. It must never leak a
traceback.
"""

import math

from fastapi import Request, Response

from aion.api import errors, syscall

_NOTHING = syscall.Usage()


def body(error: errors.SyscallError, *, audit_id: str = "") -> bytes:
    """Return the JSON of an error."""
    return syscall.failure(error, _NOTHING, audit_id)


def headers(error: errors.SyscallError) -> dict[str, str]:
    """Return Retry-After where the error says when to come back, in whole seconds as HTTP wants it."""
    if error.retry_after_ms is None:
        return {}
    return {"Retry-After": str(max(1, math.ceil(error.retry_after_ms / 1000)))}


def response(error: errors.SyscallError) -> Response:
    """Return the whole answer."""
    return Response(body(error), status_code=error.http_status, headers=headers(error), media_type="application/json")


async def handler(_request: Request, error: Exception) -> Response:
    """Answer for FastAPI."""
    if not isinstance(error, errors.SyscallError):
        raise error
    return response(error)
