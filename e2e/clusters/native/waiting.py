"""Waiting for something to become true: bounded, watchful of the processes it depends on, honest when it ends."""

import time
from collections.abc import Callable

from clusters.failure import Failed
from clusters.native import processes
from clusters.native.layout import Layout

PAUSE = 0.1  # s between looks: below what a person or a stage's time notices


def until(
    true: Callable[[], object],
    *,
    layout: Layout,
    what: str,
    needs: tuple[str, ...],
    seconds: float,
    remedy: str | None = None,
) -> None:
    """Return when `true()` is. Raises Failed with a log when a needed process dies, or when time is up."""
    deadline = time.monotonic() + seconds
    while not true():
        processes.check_alive(layout, *needs)
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds:.0f} s", log=layout.logs / f"{needs[0]}.log", remedy=remedy)
        time.sleep(PAUSE)
