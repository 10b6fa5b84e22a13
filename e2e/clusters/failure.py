"""How a step says that it failed: what happened, what to do, and which log holds the reason.

Apart from the steps so that every one of them fails in the same shape, and the command line prints it
once. It must never be raised without telling the reader what to do next: a remedy or a log.
"""

from pathlib import Path

TAIL = 15  # lines: a Go panic's first screen, and short enough to read under the message


class Failed(Exception):  # noqa: N818 - a state of affairs
    """A step could not be done. `log` is shown by its last lines; `remedy` is one sentence."""

    def __init__(self, message: str, *, log: Path | None = None, remedy: str | None = None):
        super().__init__(message)
        self.log = log
        self.remedy = remedy

    def report(self) -> str:
        """Return what the terminal gets: the message, the remedy, then the end of the log."""
        lines = [f"error: {self}"]
        if self.remedy:
            lines.append(f"  what to do: {self.remedy}")
        if self.log:
            lines.append(f"  read: {self.log}")
            lines += [f"    | {line}" for line in tail(self.log)]
        return "\n".join(lines)


def tail(log: Path, lines: int = TAIL) -> list[str]:
    """Return the last lines of a log, or a note that there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64 * 1024))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return [f"(cannot be read: {error.strerror})"]
    return [line[:400] for line in text.splitlines()[-lines:]] or ["(empty)"]
