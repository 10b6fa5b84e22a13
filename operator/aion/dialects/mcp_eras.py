"""Which revision of MCP a request speaks, and whether its headers say the same as its body. Pure.

Apart because the two eras differ in their envelope alone: until 2025-11-25 a client opens by `initialize`; since 2026-07-28
every request says its revision by itself, in the body and again in headers that proxies read. What is done is decided
from the body; a header that disagrees is refused, or a proxy in front would have judged another call than the one made.
It must never guess between the two: a request that is modern in one place and not in the other is an error.
"""

import base64
import binascii
from collections.abc import Mapping

import msgspec

from aion.api import mcp
from aion.api.mcp import LEGACY, MODERN
from aion.dialects.jsonrpc import Message, RpcError

_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Methods whose subject stands in Mcp-Name too, and the parameter it is."""

_SENTINEL, _SENTINEL_END = "=?base64?", "?="


class Meta(msgspec.Struct, frozen=True):
    """What a request says of itself in `params._meta`."""

    version: str | None = msgspec.field(default=None, name=mcp.VERSION)
    capabilities: dict[str, msgspec.Raw] | None = msgspec.field(default=None, name=mcp.CAPABILITIES)
    traceparent: str = ""


class Params(msgspec.Struct, frozen=True, rename="camel"):
    """Every parameter that a method here wants."""

    meta: Meta = msgspec.field(default=Meta(), name="_meta")
    name: str | None = None
    uri: str | None = None
    arguments: dict[str, msgspec.Raw] | None = None
    cursor: str | None = None
    protocol_version: str = ""
    request_id: int | str | None = None


_params = msgspec.json.Decoder(Params)


def params(message: Message) -> Params:
    """Read the parameters; raises RpcError."""
    try:
        return _params.decode(message.params)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise RpcError(mcp.INVALID_PARAMS, f"params of {message.method[:64]}: {wrong}") from None


def is_modern(headers: Mapping[str, str], message: Message, said: Params) -> bool:
    """Is this a request of the newer era, and a sound one? Raises RpcError where it is sound in neither."""
    header, version = headers.get("mcp-protocol-version"), said.meta.version
    if header is None and version is None:
        return False
    if header in LEGACY and version in {None, header}:
        return False
    if header is None:
        raise _mismatch("MCP-Protocol-Version is missing")
    if version is not None and version != header:
        raise _mismatch(f"MCP-Protocol-Version says {header[:64]!r}, the body {version[:64]!r}")
    if header != MODERN:
        raise RpcError(
            mcp.UNSUPPORTED_VERSION,
            f"Unsupported protocol version {header[:64]!r}: expected {MODERN}, or after initialize {' or '.join(LEGACY)}",
            data={"supported": [MODERN], "requested": header[:64]},
        )
    _verify(headers, message, said)
    return True


def negotiated(asked: str) -> str:
    """The revision that `initialize` agrees on: the client's, or ours where we do not speak it."""
    return asked if asked in LEGACY else LEGACY[0]


def _verify(headers: Mapping[str, str], message: Message, said: Params) -> None:
    for key, value in ((mcp.VERSION, said.meta.version), (mcp.CAPABILITIES, said.meta.capabilities)):
        if value is None:
            raise RpcError(mcp.INVALID_PARAMS, f"params._meta lacks {key}")
    if headers.get("mcp-method") != message.method:
        raise _mismatch(_differ("Mcp-Method", headers.get("mcp-method"), message.method))
    if message.method in _NAMED:
        wanted = getattr(said, _NAMED[message.method])
        if wanted is not None and _decoded(headers.get("mcp-name")) != wanted:
            raise _mismatch(_differ("Mcp-Name", headers.get("mcp-name"), wanted))


def _differ(name: str, header: str | None, body: str) -> str:
    if header is None:
        return f"{name} is missing, the body says {body[:64]!r}"
    return f"{name} says {header[:64]!r}, the body {body[:64]!r}"


def _mismatch(how: str) -> RpcError:
    return RpcError(mcp.HEADER_MISMATCH, f"Header mismatch: {how}")


def _decoded(value: str | None) -> str | None:
    """A header's value, out of the Base64 that wraps what a header cannot carry; None where it is no such thing."""
    if value is None or not (value.startswith(_SENTINEL) and value.endswith(_SENTINEL_END)):
        return value
    wrapped = value[len(_SENTINEL) : -len(_SENTINEL_END)]
    try:
        return base64.b64decode(wrapped, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
