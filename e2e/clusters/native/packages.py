"""What the machine must have from its distribution: programs that are looked for, and the packages that bring them.

Looks for the program, not the package: a machine that has it by another way is as good.
As root on Debian or Ubuntu the missing are installed; elsewhere the message says precisely what is missing.
"""

import os
import shutil
from pathlib import Path

from clusters import run
from clusters.failure import Failed

NEEDED = {  # program or file -> package of Debian 12 and Ubuntu 24.04
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "mount": "mount",
    "modprobe": "kmod",
    "openssl": "openssl",
    "musl-gcc": "musl-tools",  # the pause program: 13 kB static instead of glibc's 750
    "buildah": "buildah",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing() -> dict[str, str]:
    """Return the programs that are not here, with the package of each."""
    return {what: package for what, package in NEEDED.items() if not present(what)}


def present(what: str) -> bool:
    """Say whether a program is on the system's PATH, or a file exists."""
    return (
        Path(what).exists()
        if what.startswith("/")
        else shutil.which(what, path=os.environ.get("PATH", "") + ":" + PATH) is not None
    )


def ensure(log: Path) -> None:
    """Have everything. Raises Failed with the exact command a person can run."""
    if os.geteuid() != 0:
        raise Failed(
            "the native cluster needs root: it makes bridges, mounts and cgroups",
            remedy="run it with sudo, or start docker or podman for the kind provider",
        )
    if lacking := missing():
        install(sorted(set(lacking.values())), log)
        if still := missing():
            raise Failed(
                f"not found though its package was installed: {', '.join(still)}", log=log, remedy="install it by hand"
            )


def install(packages: list[str], log: Path) -> None:
    """Install by apt, or say which packages are wanted."""
    wanted = " ".join(packages)
    if not shutil.which("apt-get"):
        raise Failed(
            f"missing: {wanted} (Debian's package names), and there is no apt-get",
            remedy="install their like and run this again",
        )
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    by_hand = f"apt-get install --no-install-recommends {wanted}"
    run.logged(["apt-get", "update", "-q"], log, env=quiet, remedy="the package lists cannot be fetched: see the log")
    run.logged(
        ["apt-get", "install", "-qy", "--no-install-recommends", *packages],
        log,
        env=quiet,
        remedy=f"try by hand: {by_hand}",
    )
