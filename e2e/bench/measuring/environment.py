"""The interpreter that a benchmark needs: the repository's own, with everything of uv.lock.

Apart because it runs before anything may be imported: a benchmark is started by whatever `python3` a machine has, and
starts itself again in the locked environment where that one lacks something. Standard library only.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
UV = "uv==0.13.9"  # as in e2e/test
LEAST = (3, 11)
_SECOND = "AION_BENCH_ENVIRONMENT"


def ensure(*modules: str) -> None:
    """Return where Python is new enough and has these modules; else become the same command under `uv run --frozen`."""
    if sys.version_info >= LEAST and all(importlib.util.find_spec(module) for module in modules):
        return
    if os.environ.get(_SECOND):
        lacking = ", ".join(module for module in modules if not importlib.util.find_spec(module))
        sys.exit(
            f"uv.lock's environment lacks {lacking or 'a Python'}: run `uv sync --frozen` in {REPO} and read what it says"
        )
    argv = [uv(), "run", "--frozen", "--quiet", "--project", str(REPO), "python", *sys.argv]
    os.execve(argv[0], argv, {**os.environ, _SECOND: "1"})


def uv() -> str:
    """Find uv as e2e/test does: on PATH, else in its own environment in the cache, made where it is missing."""
    tools = Path(os.environ.get("AION_CACHE") or "~/.cache/aion-os").expanduser() / "tools"
    if found := shutil.which("uv"):
        return found
    if not (tools / "bin/uv").exists():
        print("uv is not installed: taking it from PyPI into its own environment", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", tools], check=True)
        subprocess.run([tools / "bin/pip", "install", "--quiet", UV], check=True)
    return str(tools / "bin/uv")
