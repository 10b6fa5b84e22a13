"""Where things lie, and the few settings a person may change by environment variables.

AION_PROVIDER   kind | native     which provider (else: kind where a container engine answers)
AION_STATE      folder            state of the cluster, gone after `down` (/var/lib/aion-os/e2e; not as root: ~/.local/state/aion-os/e2e)
AION_CACHE      folder            built binaries, kept over `down` (~/.cache/aion-os)
AION_API_PORT   port              of the API server on 127.0.0.1 (6443; native only)
"""

import os
from dataclasses import dataclass
from pathlib import Path

from clusters.failure import Failed

SOURCES = Path(__file__).resolve().parent
ROOTS_STATE = Path("/var/lib/aion-os/e2e")


@dataclass(frozen=True)
class Settings:
    """What the environment asked for, checked once."""

    provider: str | None
    state: Path
    cache: Path
    api_port: int

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"


def read(env: dict[str, str] | None = None) -> Settings:
    """Read the settings. Raises Failed on a value that cannot be meant."""
    env = dict(os.environ) if env is None else env
    provider = env.get("AION_PROVIDER") or None
    if provider not in {None, "kind", "native"}:
        raise Failed(f"AION_PROVIDER={provider}: expected kind or native", remedy="unset it to let the machine decide")
    port = env.get("AION_API_PORT") or "6443"
    if not port.isdecimal() or not 1024 <= int(port) <= 32767:
        raise Failed(f"AION_API_PORT={port}: expected a port of 1024..32767", remedy="leave it unset for 6443")
    home = Path(env.get("HOME") or "/root")
    return Settings(
        provider=provider,
        state=Path(
            env.get("AION_STATE") or (ROOTS_STATE if os.geteuid() == 0 else home / ".local/state/aion-os/e2e")
        ).absolute(),
        cache=Path(env.get("AION_CACHE") or home / ".cache" / "aion-os").absolute(),
        api_port=int(port),
    )
