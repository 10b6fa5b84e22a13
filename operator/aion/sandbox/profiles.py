"""The seccomp profiles that this release ships, by name and by content.

A profile is known to Pods and nodes by the SHA-256 of its bytes: a changed file is another profile, and a running Pod
keeps the one it started with. Apart from the node process, because the controller needs the hashes and nothing else.
It must never rewrite a profile: the bytes that were reviewed are the bytes that confine.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from aion.sandbox import ceiling, errors

INSTALLED = Path("/usr/share/aion/sandbox-profiles")
CHECKOUT = Path(__file__).resolve().parents[3] / "sandbox-profiles"


class Profile(NamedTuple):
    """One shipped profile: the lower-case hex SHA-256 of its bytes, and the bytes."""

    sha256: str
    body: bytes

    @property
    def path(self) -> str:
        """Where kubelet finds it below its seccomp folder; what `localhostProfile` says."""
        return f"aion/{self.sha256}.json"

    @property
    def node_label(self) -> str:
        """The label with the value `ready` on every node that holds this profile."""
        return f"seccomp.aion.os/{self.sha256[:16]}"


def folder() -> Path:
    """AION_SANDBOX_PROFILES, else the image's folder, else the one of this checkout."""
    if named := os.environ.get("AION_SANDBOX_PROFILES"):
        return Path(named)
    return INSTALLED if INSTALLED.is_dir() else CHECKOUT


def load(root: Path) -> Mapping[str, Profile]:
    """Every `seccomp/*.json` below `root`, by the file's stem. Raises ProfileMissing, or ProfileTooWide."""
    files = sorted((root / "seccomp").glob("*.json"))
    if not files:
        message = f"{root}/seccomp: no profile found; set AION_SANDBOX_PROFILES to the folder that holds seccomp/*.json"
        raise errors.ProfileMissing(message)
    found: dict[str, Profile] = {}
    for file in files:
        body = file.read_bytes()
        ceiling.DEFAULT.verify(ceiling.parse(body, name=file.stem))
        found[file.stem] = Profile(hashlib.sha256(body).hexdigest(), body)
    return found


def catalog() -> Mapping[str, Profile]:
    """The profiles of this installation: {"sealed": (sha256, bytes), …}."""
    return load(folder())
