"""`GET /v1/models`: the models that this agent may ask for, in the words of whoever asks.

Both OpenAI's and Anthropic's clients look there; a header tells them apart.

Apart because nothing is asked of a model here and nothing is recorded: the grant says it. Names that a policy writes as a
pattern cannot be listed; they can be asked for all the same. It must never name a model that a call would be refused.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from aion.api import errors, generation
from aion.dialects import anthropic_stream, openai_errors
from aion.dialects.served import Standings
from aion.dialects.wire import JSON, Answer, Request
from aion.syscalls.call import Caller

PATH = "/v1/models"
_DAWN = "1970-01-01T00:00:00Z"  # when a model was made is not known here, and clients want a time

_encode = msgspec.json.Encoder().encode


class Catalogue:
    """The face."""

    paths = frozenset({PATH})

    def __init__(self, standing: Standings) -> None:
        self._standing = standing

    def refuse(self, caller: Caller, error: errors.SyscallError) -> Answer:  # noqa: ARG002 - the protocol's
        """Answer what could not be read."""
        return _failed(error, anthropic=False)

    async def answer(self, request: Request) -> Answer:
        """List them."""
        anthropic = "anthropic-version" in request.headers
        if request.method != "GET":
            return Answer(405, ((b"allow", b"GET"),))
        try:
            rights = self._standing(request.caller).rights
        except errors.SyscallError as error:
            return _failed(error, anthropic=anthropic)
        names: Sequence[str] = ()
        if generation.SYSCALL not in rights.refusals:
            names = [name for name in rights.models.names if not name.endswith("*")]
        return Answer(200, body=_encode(_anthropic(names) if anthropic else _openai(names)))


def _openai(names: Sequence[str]) -> dict[str, Any]:
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 0, "owned_by": "aion-os"} for name in names],
    }


def _anthropic(names: Sequence[str]) -> dict[str, Any]:
    return {
        "data": [{"id": name, "type": "model", "display_name": name, "created_at": _DAWN} for name in names],
        "has_more": False,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }


def _failed(error: errors.SyscallError, *, anthropic: bool) -> Answer:
    document = anthropic_stream.error_document(error, "") if anthropic else openai_errors.failure(error).document
    return Answer(error.http_status, (JSON,), _encode(document))
