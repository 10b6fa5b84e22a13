"""What a person sees while a step runs: stage n of m, the time it took, a sign of life in long ones.

Writes to stderr only, so that stdout stays for what a program may read (`status -o json`, `kubeconfig`).
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SIGN_OF_LIFE = 10.0  # s: nobody waits longer than this without a line


class Progress:
    """Counts the stages of one command."""

    def __init__(self, stages: int):
        self.stages = stages
        self.current = 0
        self.began = time.monotonic()
        self._detail = ""
        self._title = ""

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Announce one stage; every ten seconds say that it is still at work, and with what."""
        self.current += 1
        self._title, self._detail = title, ""
        started, over = time.monotonic(), threading.Event()
        self._print(title)
        ticker = threading.Thread(target=self._tick, args=(started, over), daemon=True)
        ticker.start()
        try:
            yield
        finally:
            over.set()
            ticker.join()
        spent = time.monotonic() - started
        if spent >= 1:
            self._print(f"{title}: {self._detail or 'done'}, {seconds(spent)}")

    def say(self, detail: str) -> None:
        """Note what the stage is doing; shown with the next sign of life and at the end."""
        self._detail = detail

    def note(self, line: str) -> None:
        """Print a line at once: something a person should know though nothing failed."""
        print(f"        {line}", file=sys.stderr, flush=True)

    def total(self) -> str:
        return seconds(time.monotonic() - self.began)

    def _tick(self, started: float, over: threading.Event) -> None:
        while not over.wait(SIGN_OF_LIFE):
            spent = seconds(time.monotonic() - started)
            self._print(f"{self._title}: {self._detail or 'at work'}, {spent} so far")

    def _print(self, text: str) -> None:
        print(f"[{self.current}/{self.stages}] {text}", file=sys.stderr, flush=True)


def seconds(value: float) -> str:
    """Return 7.3 s, or 2 min 05 s."""
    return f"{value:.1f} s" if value < 60 else f"{int(value) // 60} min {int(value) % 60:02d} s"
