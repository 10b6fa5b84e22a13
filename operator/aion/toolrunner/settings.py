"""What the runner is told by its environment, and the tenant's keys on disk.

It stands apart so that no other module reads the environment. It must never print a key.
"""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Environment variables AION_*; `tool_file` and `tool_argv` (shell words) are for a laptop without Pods."""

    model_config = SettingsConfigDict(env_prefix="AION_", frozen=True)

    tool: str
    tenant: str
    keys_dir: Path = Path("/var/run/aion/keys")
    tool_socket: Path = Path("/run/aion/tool.sock")
    tool_file: Path | None = None
    tool_argv: str | None = None
    port: int = 8020
    # After SIGTERM calls are taken for so long: until every node knows that new connections go elsewhere.
    linger_s: float = 2.0


class Keys:
    """A tenant's secrets by key id, read at each use: an upgrade is rare, and a rotated Secret is then in force."""

    def __init__(self, folder: Path, *, tenant: str) -> None:
        self._folder = folder
        self._tenant = tenant

    def __call__(self, tenant: str, key_id: str) -> bytes | None:
        """Find a secret; None where this tenant has no such key."""
        if tenant != self._tenant or "/" in key_id or key_id.startswith("."):
            return None
        try:
            return (self._folder / key_id).read_bytes().strip() or None
        except OSError:
            return None
