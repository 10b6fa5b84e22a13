"""The secrets by which a tenant's own machines sign: Secret `aion-tenant-keys` of the tenant's namespace.

It stands apart because it is the only place where the kernel holds secrets of tenants. They live in memory for half a
minute, so that a rotated key counts soon, and are never logged, sent or stored.
"""

import base64
import binascii
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from aion.api import errors, labels
from aion.kernel.cluster import ApiError, Cluster
from aion.kernel.reviews import Memory

KEEP_S = 30.0

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""A tenant's name comes from an unproved header: only a namespace's name may become part of a path."""

Ring = Mapping[str, bytes]
"""Key id -> secret. Several are valid while keys rotate; empty where there is no such tenant."""


class TenantKeys(Protocol):
    """Where a tenant's keys come from."""

    async def ring(self, tenant: str) -> Ring:
        """Return every valid key of a tenant; raises Unavailable."""


class ClusterKeys:
    """Keys read from the cluster, remembered for 30 s (also that there are none)."""

    def __init__(
        self, cluster: Cluster, *, namespaces: Sequence[str] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Where `namespaces` are named, there is no tenant but these."""
        self._cluster = cluster
        self._namespaces = frozenset(namespaces)
        self._rings: Memory[Ring] = Memory(KEEP_S, clock)

    async def ring(self, tenant: str) -> Ring:
        """Return every valid key of a tenant."""
        if not _NAMESPACE.fullmatch(tenant) or (self._namespaces and tenant not in self._namespaces):
            return {}
        known = self._rings.get(tenant)
        if known is None:
            try:
                secret = await self._cluster.get(f"/api/v1/namespaces/{tenant}/secrets/{labels.TENANT_KEYS}")
            except ApiError as failed:
                raise errors.Unavailable(f"the tenant's keys cannot be read ({failed}); retry") from failed
            known = _ring((secret or {}).get("data") or {})
            self._rings.put(tenant, known)
        return known


class FixedKeys:
    """Keys given at start: for a laptop and for tests."""

    def __init__(self, rings: Mapping[str, Ring]) -> None:
        self._rings = rings

    async def ring(self, tenant: str) -> Ring:
        """Return the tenant's keys."""
        return self._rings.get(tenant, {})


def _ring(data: Mapping[str, str]) -> Ring:
    ring: dict[str, bytes] = {}
    for key_id, value in data.items():
        try:
            # Stripped because a key made by `echo` or an editor ends in a line break that the signer never sees.
            ring[key_id] = base64.b64decode(value, validate=True).strip()
        except binascii.Error:
            continue
    return {key_id: secret for key_id, secret in ring.items() if secret}
