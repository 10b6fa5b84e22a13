"""What building the images needs of the machine, beside what the cluster needs.

Looks for the program, not the package. It must never replace a toolchain that is there.
"""

import os
import shutil
import subprocess
from pathlib import Path

from clusters.failure import Failed
from clusters.native import packages

NEEDED = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "make": "make", "musl-gcc": "musl-tools"}
RUST = ("rustc", "cargo", "libstd-rust-dev-wasm32")
WASM = "wasm32-unknown-unknown"


def ensure(log: Path, *, engine_builds: bool) -> None:
    """Have everything; raises Failed naming what is missing. With a container engine the images' own builds need less."""
    lacking = {package for program, package in NEEDED.items() if not packages.present(program)}
    lacking -= {"buildah", "mmdebstrap"} if engine_builds else set()
    lacking |= set() if has_rust() else set(RUST)
    if not lacking:
        return
    if os.geteuid() != 0:
        raise Failed(
            f"missing: {', '.join(sorted(lacking))}", remedy=f"sudo apt-get install -y {' '.join(sorted(lacking))}"
        )
    packages.install(sorted(lacking), log)


def has_rust() -> bool:
    """Say whether a rustc is here that can compile to wasm: the one on PATH, or Debian's."""
    candidates = {shutil.which("rustc"), "/usr/bin/rustc"} - {None}
    return any(_compiles_to_wasm(Path(str(rustc))) for rustc in candidates)


def _compiles_to_wasm(rustc: Path) -> bool:
    if not (rustc.exists() and rustc.with_name("cargo").exists()):
        return False
    said = subprocess.run([rustc, "--print", "sysroot"], capture_output=True, text=True, check=False)
    return said.returncode == 0 and (Path(said.stdout.strip()) / "lib/rustlib" / WASM).is_dir()
