"""JSON-RPC 2.0 as MCP uses it: one message in, one response out.

Apart because it is older than MCP and the same in all of its revisions. A message is read once, by structs that know every
field any of our methods wants; results are encoded as they are. It must never answer a notification.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from aion.api import mcp

Id = int | str


class RpcError(Exception):
    """A message that cannot be served. `id` is that of the message, where it could be read."""

    def __init__(self, code: int, message: str, *, data: object = None, ident: Id | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
        self.id = ident


class Message(msgspec.Struct, frozen=True):
    """A request, or without an id a notification."""

    jsonrpc: Literal["2.0"]
    method: str
    id: int | str | UnsetType = UNSET
    params: Raw = Raw(b"{}")


class _Marks(msgspec.Struct):
    """Of a message that is wrong: what tells whom to answer, and whether it is the response of a client."""

    id: Any = None
    method: Any = None
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


_message = msgspec.json.Decoder(Message)
_marks = msgspec.json.Decoder(_Marks)
_encode = msgspec.json.Encoder().encode


def read(body: bytes) -> Message:
    """Read a message; raises RpcError."""
    try:
        return _message.decode(body)
    except msgspec.ValidationError as wrong:
        raise RpcError(mcp.INVALID_REQUEST, f"not one JSON-RPC 2.0 request: {wrong}", ident=_id(body)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as unreadable:
        raise RpcError(mcp.PARSE_ERROR, f"the body is not JSON: {unreadable}") from None


def _id(body: bytes) -> Id | None:
    try:
        found = _marks.decode(body).id
    except msgspec.DecodeError:
        return None
    return found if isinstance(found, int | str) and not isinstance(found, bool) else None


def is_response(body: bytes) -> bool:
    """Is this the answer to a question of the server's? We ask none, so it is for nobody."""
    try:
        marks = _marks.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return marks.method is None and (marks.result is not UNSET or marks.error is not UNSET)


def result(ident: Id, value: object) -> bytes:
    """The response of a request that was served."""
    return _encode({"jsonrpc": "2.0", "id": ident, "result": value})


def failure(error: RpcError, ident: Id | None) -> bytes:
    """The response of one that was not; without an id where none could be read."""
    said: dict[str, object] = {"code": error.code, "message": error.message}
    if error.data is not None:
        said["data"] = error.data
    made: dict[str, object] = {"jsonrpc": "2.0"}
    if ident is not None:
        made["id"] = ident
    return _encode({**made, "error": said})
