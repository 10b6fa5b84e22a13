"""One `up`, `down` or `load` at a time on a state folder; who comes second waits, and is told for whom."""

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clusters.failure import Failed

LONGEST = 1800  # s: a first `up` builds Kubernetes


@contextmanager
def held(state: Path, verb: str) -> Iterator[None]:
    """Hold the folder's lock. The lock file lies beside the folder, so that `down` can remove the folder."""
    path = state.with_name(f".{state.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        _take(file, state)
        file.truncate(0)
        file.write(f"`e2e/cluster {verb}` (pid {os.getpid()})")
        file.flush()
        yield
        if not state.exists():
            path.unlink(missing_ok=True)
    if not state.exists():
        _remove_if_empty(path.parent)


def _take(file, state: Path) -> None:
    deadline, told = time.monotonic() + LONGEST, False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read() or "another command"
            if time.monotonic() > deadline:
                raise Failed(f"{holder} still works on {state}", remedy="see whether it hangs") from None
            if not told:
                print(f"waiting: {holder} is at work on {state}", file=sys.stderr, flush=True)
                told = True
            time.sleep(0.2)
        else:
            return


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # others' things are in it
        return
