"""Puts one profile on a node's disk and says whether it is there, byte for byte.

Apart from the loop, so that the order "verify, then label" can be read in one place and tested without a cluster.
It must never leave a half-written file under the profile's name: kubelet reads that name at any moment.
"""

import os
from pathlib import Path

from aion.sandbox.profiles import Profile


def ensure(profile: Profile, *, kubelet_root: Path) -> bool:
    """Make `<kubelet_root>/seccomp/aion/<sha256>.json` hold exactly the profile. True where it had to be written.

    Raises OSError where the disk refuses, also when what is read back differs from what was written.
    """
    path = kubelet_root / "seccomp" / profile.path
    if holds(path, profile):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with open(fd, "wb") as file:  # noqa: PTH123  (a descriptor, opened with flags that Path lacks)
        file.write(profile.body)
        file.flush()
        os.fsync(file.fileno())
    temp.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # the name itself must survive a power cut
    finally:
        os.close(folder)
    if not holds(path, profile):
        raise OSError(f"{path}: reads back differently from what was written; is the disk full or the folder shared?")
    return True


def holds(path: Path, profile: Profile) -> bool:
    """Whether the file is there, is a plain file, and has the profile's bytes."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    with open(fd, "rb") as file:  # noqa: PTH123  (a descriptor, opened with flags that Path lacks)
        return file.read(len(profile.body) + 1) == profile.body
