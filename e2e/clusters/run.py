"""Running another program to its end: output to a log or into memory, and a failure that names it.

Apart because every provider does it, and a bare subprocess call forgets one of the three.
It must never run a shell.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from clusters.failure import Failed


def output(argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, stdin: bytes | None = None) -> str:
    """Return stdout. Raises Failed with stderr's last line."""
    done = _run(argv, env=env, input=stdin, capture_output=True)
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().splitlines()
        raise Failed(f"`{_shown(argv)}` exited {done.returncode}: {told[-1] if told else 'it said nothing'}")
    return done.stdout.decode(errors="replace")


def succeeds(argv: Sequence[str | Path], *, timeout: float = 20) -> bool:
    """Say whether the program exists and exits 0 within the time."""
    try:
        return _run(argv, capture_output=True, timeout=timeout).returncode == 0
    except (Failed, subprocess.TimeoutExpired):
        return False


def logged(
    argv: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    remedy: str | None = None,
) -> None:
    """Run with all output appended to the log. Raises Failed with the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        file.write(f"$ {_shown(argv)}\n".encode())
        file.flush()
        done = _run(argv, env=env, cwd=cwd, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Failed(f"`{_shown(argv)}` exited {done.returncode}", log=log, remedy=remedy)


def _run(argv, *, env=None, **options):
    try:
        return subprocess.run([str(word) for word in argv], env={**os.environ, **(env or {})}, check=False, **options)
    except FileNotFoundError:
        raise Failed(
            f"{argv[0]} is not installed", remedy="run `e2e/cluster up`, which installs what it needs"
        ) from None


def _shown(argv: Sequence[str | Path]) -> str:
    text = " ".join(str(word) for word in argv)
    return text if len(text) <= 160 else text[:157] + "..."
