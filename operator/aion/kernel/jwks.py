"""The keys of an OIDC issuer: discovered, fetched, kept, and fetched again when it turns them over.

It stands apart from `people` because a stranger must not make the kernel ask the issuer: who names a key that nobody knows is
refused from memory until a refetch is due. Only public keys are kept, each with the algorithms that its kind can mean: a
secret in the set, or one that a token names itself, is no key. It must never follow a redirect, nor ask without TLS.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt
import msgspec

from aion.api import errors
from aion.kernel import oidc

DISCOVERY = "/.well-known/openid-configuration"

FRESH_S = 300.0
"""A key that the issuer took out counts no longer after this."""

STALE_S = 3600.0
"""While the issuer is away, the keys that it had go on for so long."""

AGAIN_S = 10.0
"""Between two questions to the issuer, whatever for: a new key is known within this."""

ANSWER_S = 5.0
MOST_BYTES = 256 << 10
MOST_KEYS = 64

ALGORITHMS: Mapping[str, frozenset[str]] = {
    "RSA": frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    "P-256": frozenset({"ES256"}),
    "P-384": frozenset({"ES384"}),
    "P-521": frozenset({"ES512"}),
    "Ed25519": frozenset({"EdDSA"}),
}
"""By what a key is. No `none`, and no HS: a MAC by a public key is anybody's."""

Document = dict[str, Any]
Fetch = Callable[[str], Awaitable[Document]]
"""Gets a JSON object by its URL; raises OSError or ValueError."""


@dataclass(frozen=True, slots=True)
class Key:
    """One public key and what it may be used by."""

    public: Any
    algorithms: frozenset[str]


class Jwks:
    """The keys of one issuer."""

    def __init__(
        self, issuer: str, *, ca: str = "", fetch: Fetch | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer = issuer
        self._fetch = fetch or _fetching(ca)
        self._clock = clock
        self._keys: Mapping[str, Key] = {}
        self._read_at = self._asked_at = float("-inf")
        self._asking = asyncio.Lock()
        self._why = "it was not asked yet"

    async def key(self, key_id: str) -> Key:
        """Return the key of that name; "" is the only one of a set of one. Raises BadSignature or Unavailable."""
        if self._clock() - self._read_at > FRESH_S or self._found(key_id) is None:
            await self._read_again(key_id)
        found = self._found(key_id)
        if self._clock() - self._read_at > STALE_S:
            raise errors.Unavailable(f"the issuer's keys cannot be read: {self._why}")
        if found is None:
            raise errors.BadSignature(f"the issuer has no key {key_id[:64]!r}: sign in again")
        return found

    def _found(self, key_id: str) -> Key | None:
        if not key_id and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _read_again(self, key_id: str) -> None:
        async with self._asking:
            fresh = self._clock() - self._read_at <= FRESH_S
            if (fresh and self._found(key_id) is not None) or self._clock() - self._asked_at < AGAIN_S:
                return
            self._asked_at = self._clock()
            try:
                self._keys = keys_of(await self._set())
            except (OSError, ValueError, aiohttp.ClientError) as failed:
                self._why = f"{type(failed).__name__}: {str(failed)[:200]}"
            else:
                self._read_at = self._clock()

    async def _set(self) -> Document:
        found = await self._fetch(self._issuer.rstrip("/") + DISCOVERY)
        if found.get("issuer") != self._issuer:
            raise ValueError(f"it calls itself {str(found.get('issuer'))[:120]!r}, expected {self._issuer!r}")
        url = found.get("jwks_uri")
        local = self._issuer.startswith("http://")  # an issuer on this machine may lead to this machine, no other
        if not isinstance(url, str) or not (url.startswith("https://") or (local and oidc.secure(url))):
            raise ValueError(f"its jwks_uri is {str(url)[:120]!r}, expected an https URL")
        return await self._fetch(url)


def keys_of(document: Document) -> Mapping[str, Key]:
    """Return the keys of a set that sign, by name; what cannot be used is passed over."""
    keys: dict[str, Key] = {}
    listed = document.get("keys")
    for each in (listed if isinstance(listed, list) else [])[:MOST_KEYS]:
        if not isinstance(each, dict) or each.get("use", "sig") != "sig":
            continue
        kind = each.get("crv") if each.get("kty") in ("EC", "OKP") else each.get("kty")
        algorithms = ALGORITHMS.get(str(kind), frozenset())
        if named := each.get("alg"):
            algorithms &= {str(named)}
        if not algorithms:
            continue
        try:
            public = jwt.PyJWK({name: value for name, value in each.items() if name != "d"}, min(algorithms)).key
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        keys[str(each.get("kid", ""))] = Key(public, algorithms)
    return keys


def _fetching(ca: str) -> Fetch:
    context = ssl.create_default_context(cadata=ca or None)

    async def fetch(url: str) -> Document:
        limit = aiohttp.ClientTimeout(total=ANSWER_S)
        async with (
            aiohttp.ClientSession(timeout=limit, trust_env=True) as session,
            session.get(url, allow_redirects=False, ssl=context) as answer,
        ):
            if answer.status != 200:
                raise ValueError(f"{url} answered HTTP {answer.status}")
            body = await answer.content.read(MOST_BYTES + 1)
            while len(body) <= MOST_BYTES and (more := await answer.content.read(MOST_BYTES)):
                body += more
        if len(body) > MOST_BYTES:
            raise ValueError(f"{url} answered more than {MOST_BYTES} bytes")
        try:
            return msgspec.json.decode(body, type=Document)
        except msgspec.DecodeError as garbled:
            raise ValueError(f"{url} answered what is not a JSON object: {garbled}") from None

    return fetch
