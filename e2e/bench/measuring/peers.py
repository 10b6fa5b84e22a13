"""What is compared, had in versions that are pinned: peers in Python by their own locks, and nginx as Debian builds it.

Apart because a peer must never be something that the project depends on. What cannot be had is left out, and said; it must
never be installed into the machine.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from clusters import run
from measuring import environment, golang

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def interpreter(script: Path, *, name: str) -> Path:
    """The interpreter of a script's own locked environment, of the same Python as ours."""
    sync("--script", script, log=f"{name}-environment")
    return Path(run.output([environment.uv(), "python", "find", "--script", script]).strip())


def sync(*words: str | Path, log: str, **env: str) -> None:
    """Have an environment as its lock says, of this interpreter."""
    argv = [environment.uv(), "sync", "--quiet", "--frozen", "--compile-bytecode", "--python", sys.executable, *words]
    run.logged(argv, golang.cache() / f"log/{log}.log", env=env, remedy="PyPI cannot be reached")


def nginx() -> Path | None:
    """The machine's nginx, else Debian's package laid out in the cache; None where there is neither."""
    if found := shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:{_SBIN}"):
        return Path(found)
    folder = golang.cache() / "nginx"
    program = folder / "usr/sbin/nginx"
    if not program.exists() and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "--quiet", "nginx"], cwd=folder, capture_output=True, check=False)
        for package in folder.glob("nginx_*.deb"):
            subprocess.run(["dpkg-deb", "--extract", package, folder], capture_output=True, check=False)
    return program if program.exists() and _runs(program) else None


def _runs(program: Path) -> bool:
    """Are the libraries there that it needs?"""
    return subprocess.run([program, "-v"], capture_output=True, check=False).returncode == 0
