"""Errors as OpenAI says them: `{"error": {message, type, param, code}}`. Pure.

Apart because both of OpenAI's dialects say them alike. `code` is the contract's own (E_POLICY, E_BUDGET, …), so that a
program can tell refusals apart; `type` and HTTP status are what OpenAI's clients know.
"""

from typing import Any

from aion.api import errors
from aion.dialects import generating
from aion.dialects.generating import Said

_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}
_STATUS = {402: 429, 413: 400, 422: 400}
"""Where OpenAI says another status than the contract for the same trouble."""


def failure(error: errors.SyscallError) -> Said:
    """Status and document."""
    status = error.http_status
    return Said(_STATUS.get(status, status), {"error": document(error)})


def document(error: errors.SyscallError) -> dict[str, Any]:
    """The `error` object."""
    status = error.http_status
    return {
        "message": generating.sentence(error),
        "type": _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error"),
        "param": generating.place(error),
        "code": error.code,
    }
