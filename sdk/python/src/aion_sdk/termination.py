"""What SIGTERM does to an agent that has said nothing about it.

Apart because it is about the process and not about syscalls. In a container the agent is process 1, for which Linux does not
carry out a signal's default action: without a handler a stopped Pod would hang for its whole grace and then be killed. It
must never replace a handler, nor touch a process that has a parent of its own to look after it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

STATUS = 128 + int(signal.SIGTERM)  # what a shell reports of a process that SIGTERM ended


def obey_sigterm(pid: int | None = None) -> bool:
    """Have SIGTERM end process 1 by SystemExit(143), as it ends any other; say whether that was needed.

    Only from the main thread, which alone may set handlers. `pid` is this process's, unless a test says otherwise.
    """
    lone = (os.getpid() if pid is None else pid) == 1
    main = threading.current_thread() is threading.main_thread()
    if not (lone and main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL):
        return False
    signal.signal(signal.SIGTERM, _leave)
    return True


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(STATUS)
