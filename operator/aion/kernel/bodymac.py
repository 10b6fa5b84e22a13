"""The MAC of older clients, over the body alone: for tenants whose Tenant says `auth.legacyBodyHmac: true`, and only there.

It stands apart from `auth` because it proves less: nothing but the body is under the MAC, so the request can be replayed, and no
header, method or path is anybody's word. Hence the body must say what is asked, the agent's header is not believed, and each
use is counted and warned about. It must never take what HMAC v1 refused.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable

import msgspec
import structlog

from aion.api import errors, signing
from aion.kernel.auth import Asked, Caller
from aion.kernel.tenantkeys import TenantKeys

WARN_AGAIN_S = 60.0

_SYSCALLS = "/v1/syscall/"
_HEX = re.compile(r"[0-9a-f]{64}")
_log = structlog.get_logger()


class BodyMac:
    """Who signed a body. `allowed` says which tenants take this; `used` counts."""

    def __init__(
        self,
        keys: TenantKeys,
        *,
        allowed: Callable[[str], bool],
        used: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._allowed = allowed
        self._used = used
        self._clock = clock
        self._warned: dict[str, float] = {}

    async def caller(self, asked: Asked, *, path: str) -> Caller:
        """Return the tenant that signed this body; raises BadSignature or Unavailable."""
        tenant = asked.headers.get(signing.TENANT.lower(), "")
        mac = asked.headers.get(signing.SIGNATURE.lower(), "").strip()
        if not self._allowed(tenant):
            raise errors.BadSignature(
                "X-Sig-HMAC without `v1=` is the legacy MAC over the body alone, which this tenant does not take: sign by "
                "version 1 (aion_sdk does), or set auth.legacyBodyHmac in its Tenant for a while"
            )
        if not _HEX.fullmatch(mac) or not asked.body or asked.method != "POST":
            raise errors.BadSignature("the legacy MAC is 64 hex digits over the body of a POST, and nothing else")
        ring = await self._keys.ring(tenant)
        expected = (hmac.new(secret, asked.body, hashlib.sha256).hexdigest() for secret in ring.values())
        right = [hmac.compare_digest(mac, each) for each in expected]  # all of them: no early way out
        if not any(right):
            raise errors.BadSignature("no valid key of this tenant made this MAC over this body")
        if path.startswith(_SYSCALLS) and _syscall(asked.body) != path.removeprefix(_SYSCALLS):
            raise errors.BadSignature(
                "the legacy MAC does not cover the path: the body must name its `syscall`, the same"
            )
        self._tell(tenant)
        return Caller(tenant=tenant, agent_id="", via="hmac", who="legacy")

    def _tell(self, tenant: str) -> None:
        self._used()
        now = self._clock()
        if now - self._warned.get(tenant, -WARN_AGAIN_S) >= WARN_AGAIN_S:
            self._warned[tenant] = now
            _log.warning("legacy.mac", tenant=tenant, fix="sign by HMAC v1: this can be replayed")


class _Named(msgspec.Struct):
    syscall: str = ""


_named = msgspec.json.Decoder(_Named)


def _syscall(body: bytes) -> str:
    try:
        return _named.decode(body).syscall
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
