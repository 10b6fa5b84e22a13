"""Signing for the tenant's tools, with the keys that the kubelet mounts into this container alone.

Apart so that one module of the gateway reads a secret. It reads at each use: connections to tools are few, and a rotated
Secret is then in force at once. It must never log, keep or send a key.
"""

import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from aion.api import errors, keyids, signing


class Keys:
    """A folder of key files: the name is the key's id, the content its secret."""

    def __init__(self, folder: Path, *, tenant: str, agent_id: str) -> None:
        self._folder = folder
        self._tenant = tenant
        self._agent_id = agent_id

    def sign(self, target: str) -> Mapping[str, str]:
        """The headers that sign a GET of this target with the newest key that has come into force; raises Unavailable without one."""
        key_id, secret = self._newest()
        return signing.headers(
            secret,
            method="GET",
            target=target,
            tenant=self._tenant,
            agent_id=self._agent_id,
            key_id=key_id,
            now_ms=time.time_ns() // 1_000_000,
            nonce=secrets.token_urlsafe(18),
        )

    def _newest(self) -> tuple[str, bytes]:
        try:
            files = [path for path in self._folder.iterdir() if path.is_file() and not path.name.startswith(".")]
            in_force = [path for path in files if keyids.signs_from(path.name) <= time.time()]
            for path in sorted(in_force, key=lambda each: (keyids.signs_from(each.name), each.name), reverse=True):
                if secret := path.read_bytes().strip():
                    return path.name, secret
        except OSError as unreadable:
            raise errors.Unavailable(f"the tenant's keys cannot be read: {unreadable}") from None
        raise errors.Unavailable(f"{self._folder} holds no key of tenant {self._tenant}: no tool can be called")
