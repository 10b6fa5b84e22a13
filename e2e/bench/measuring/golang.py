"""Go programs of the benchmarks, built with the local cluster's toolchain and cached by a hash of their inputs.

Apart because two benchmarks need it. Like the cluster's own build it trusts go.sum alone.
"""

import fcntl
import hashlib
import re
from pathlib import Path

from clusters import run, settings
from clusters.native import build
from clusters.native.layout import Layout
from measuring.report import say

_FLAGS = ("-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", "-s -w")
_ENV = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}


def cache() -> Path:
    """Where benchmarks keep what is worth keeping."""
    return settings.read().cache / "bench"


def binary(module: Path, *, name: str, package: str = ".") -> Path:
    """Have a package of this module as a program; raises Failed with the compiler's words."""
    log = cache() / f"log/build-{name}.log"
    go = _toolchain(module, log)
    digest = hashlib.sha256(repr((go.version, _FLAGS, package)).encode())
    for path in sorted(path for path in module.iterdir() if path.suffix in {".go", ".mod", ".sum"}):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    target = cache() / f"bin/{name}-{digest.hexdigest()[:12]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with (cache() / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            say(f"building {name} (the first time only)")
            fresh = target.with_suffix(".fresh")
            run.logged([go.command, "build", *_FLAGS, "-o", fresh, package], log, env=_ENV, cwd=module,
                       remedy="a download that failed is tried again by the next run")  # fmt: skip
            fresh.replace(target)
    return target


def source_of(module: Path, dependency: str) -> Path:
    """The folder of a dependency's sources, as go.sum vouches for them."""
    log = cache() / "log/modules.log"
    go = _toolchain(module, log)
    run.logged([go.command, "mod", "download", dependency], log, env=_ENV, cwd=module)
    # -C: `output` runs where the caller stands
    return Path(run.output([go.command, "-C", module, "list", "-m", "-f", "{{.Dir}}", dependency], env=_ENV).strip())


def _toolchain(module: Path, log: Path) -> build.Go:
    wanted = re.search(r"^go (\d+)\.(\d+)", (module / "go.mod").read_text(), re.MULTILINE)
    least = (int(wanted[1]), int(wanted[2])) if wanted else build.GO_MINIMUM
    return build.toolchain(Layout(settings.read()), log=log, say=say, least=least)
