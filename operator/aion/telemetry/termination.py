"""What a process says where it cannot go on: one sentence, where a person and the controller look, and an exit status.

Apart because every process ends alike: the kubelet shows the termination log in the Pod's status, from where a condition
quotes it. It must never hold a secret: whoever may see the Pod may read it.
"""

import contextlib
import sys
from pathlib import Path

EX_DATAERR, EX_UNAVAILABLE, EX_CONFIG = 65, 69, 78
"""As sysexits.h has them: what was given can never run; something is away; the settings are wrong."""

LOG = Path("/dev/termination-log")


def leave(status: int, sentence: str) -> int:
    """Say why; returns the exit status."""
    with contextlib.suppress(OSError):
        LOG.write_text(sentence)
    sys.stderr.write(sentence + "\n")
    return status
