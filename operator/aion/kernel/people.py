"""People's tokens: whose they are by signature, and where in the API they lead.

It stands apart from `auth` so that a kernel without an issuer loads no JWT library. Which of the proofs a bearer token is
stands in its `iss`, which is believed for nothing else: a token that names our issuer is judged by its keys alone, and never
asked of the API server where it fails. It must never believe the algorithm that a token names before the key allows it.
"""

import base64
import binascii
import time
from collections.abc import Callable
from typing import Any

import jwt
import msgspec

from aion.api import errors
from aion.kernel import auth, oidc
from aion.kernel.jwks import ALGORITHMS, Jwks
from aion.kernel.oidc import Oidc

MOST_TOKEN = 16 << 10
"""With some hundred groups; a listener takes no longer head anyway."""

KINDS = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""What a token may say that it is. Logout tokens and their like prove nobody's presence."""

_jws = jwt.PyJWS(algorithms=sorted(frozenset[str]().union(*ALGORITHMS.values())))


class Bearers:
    """Bearer tokens: people's of the issuer, everybody else's of the cluster."""

    def __init__(
        self, tokens: auth.Authority, given: Oidc, *, keys: Jwks, now_s: Callable[[], float] = time.time
    ) -> None:
        self._tokens = tokens
        self._given = given
        self._keys = keys
        self._now_s = now_s

    async def caller(self, asked: auth.Asked, *, path: str) -> auth.Caller:
        """Return who asks; raises Unauthenticated, Forbidden or Unavailable."""
        token = auth.token_of(asked)
        if _issuer(token) != self._given.issuer:
            return await self._tokens.caller(asked, path=path)
        who = oidc.person(await self._claims(token), self._given, now_s=self._now_s())
        chosen = asked.headers.get("x-tenant-id", "")
        tenant = oidc.scope(who, self._given.roles, method=asked.method, tenant=chosen)
        return auth.Caller(tenant=tenant, agent_id="", via=auth.PERSON, who=who.name)

    async def _claims(self, token: str) -> dict[str, Any]:
        header = _part(token, 0)
        algorithm, key_id = header.get("alg"), header.get("kid", "")
        if not isinstance(algorithm, str) or not isinstance(key_id, str) or "crit" in header:
            raise errors.BadSignature("the token's header is not that of a signed JWT")
        if str(header.get("typ", "JWT")).lower() not in KINDS:
            raise errors.BadSignature(
                f"got a token of type {str(header['typ'])[:40]!r}, expected an id or access token"
            )
        key = await self._keys.key(key_id)
        if algorithm not in key.algorithms:
            raise errors.BadSignature(f"got algorithm {algorithm[:16]!r}, expected {', '.join(sorted(key.algorithms))}")
        try:
            payload = _jws.decode(token, key.public, algorithms=[algorithm])
        except jwt.PyJWTError:
            raise errors.BadSignature("the issuer's key did not sign this token") from None
        return _object(payload)


def _issuer(token: str) -> object:
    """Return what the token says of its issuer, None where it says nothing that can be read."""
    try:
        return _part(token, 1).get("iss")
    except errors.BadSignature:
        return None


def _part(token: str, at: int) -> dict[str, Any]:
    parts = token.split(".") if len(token) <= MOST_TOKEN else []
    if len(parts) != 3:
        raise errors.BadSignature("the bearer token is not a signed JWT")
    try:
        return _object(base64.urlsafe_b64decode(parts[at] + "=" * (-len(parts[at]) % 4)))
    except (binascii.Error, ValueError):
        raise errors.BadSignature("the bearer token is not a signed JWT") from None


def _object(text: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise errors.BadSignature("the bearer token is not a signed JWT") from None
