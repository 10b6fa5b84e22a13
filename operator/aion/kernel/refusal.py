"""How the kernel says no: the contract's error body, status and Retry-After, or a WebSocket's close.

It stands apart so that FastAPI's routes, WebSocket denials and the raw path answer alike. It must never leak a
traceback.
"""

import contextlib
import math

from fastapi import Response, WebSocket, WebSocketDisconnect

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


async def hang_up(socket: WebSocket, *, code: int, reason: str) -> None:
    """Close a connection that was accepted; nothing happens where the other side was faster."""
    said = reason.encode()[:120].decode(errors="ignore")  # a close frame holds 123 bytes
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # starlette's "already closed" is a RuntimeError
        await socket.close(code=code, reason=said)
