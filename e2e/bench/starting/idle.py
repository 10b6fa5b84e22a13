"""Waiting until the machine rests: what the last start and its removal left to do would be measured with the next.

Apart because what counts as rest is a decision. It must never wait without end: a machine that others use never rests.
"""

import os
import time

from measuring import processes

RESTS_BELOW = 0.15  # of all cores; an idle single-node cluster takes some 5 %
LOOK_S = 0.3
LOOKS = 2  # in a row
PATIENCE_S = 15


def await_rest() -> bool:
    """Return True at rest, False where the patience ended before."""
    deadline, calm = time.monotonic() + PATIENCE_S, 0
    while calm < LOOKS:
        if time.monotonic() > deadline:
            return False
        calm = calm + 1 if _busy_share() < RESTS_BELOW else 0
    return True


def _busy_share() -> float:
    began, before = time.monotonic(), processes.machine_busy_s()
    time.sleep(LOOK_S)
    return (processes.machine_busy_s() - before) / (time.monotonic() - began) / len(os.sched_getaffinity(0))
