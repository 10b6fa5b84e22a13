"""Whom not to ask for a while: one backend's circuit breaker, a state machine without a clock of its own.

Apart because it is judged by time alone, and time is given. After five failures on end nobody asks for five seconds, then
one call tries, and where that fails the pause doubles up to a minute. A backend that says itself when to come back is not
asked before. It must never stay half open because the one that tried went away: `gave_up` says so.
"""

from dataclasses import dataclass

FAILURES = 5
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 60.0


@dataclass(slots=True)
class Breaker:
    """`now` is in seconds of a monotonic clock."""

    failures: int = 0
    closed_until: float = 0.0
    """Nobody asks before."""
    trying: bool = False
    """One call is finding out whether the backend is well again."""

    def admits(self, now: float) -> bool:
        """May a call ask now? Where the backend was ill, only one at a time; it must say what came of it."""
        if now < self.closed_until or self.trying:
            return False
        self.trying = self.failures >= FAILURES
        return True

    def opens_in(self, now: float) -> float:
        """Seconds until somebody may ask; a trial under way counts as a moment."""
        return max(self.closed_until - now, FIRST_PAUSE_S / 10 if self.trying else 0.0)

    def succeeded(self) -> None:
        """It answered."""
        self.failures, self.trying, self.closed_until = 0, False, 0.0

    def failed(self, now: float) -> None:
        """It did not."""
        self.failures, self.trying = self.failures + 1, False
        if self.failures >= FAILURES:
            pause = FIRST_PAUSE_S * 2 ** min(self.failures - FAILURES, 10)
            self.closed_until = max(self.closed_until, now + min(pause, LONGEST_PAUSE_S))

    def rests(self, now: float, *, seconds: float) -> None:
        """It asked to be left alone for so long, which is no failure."""
        self.trying = False
        self.closed_until = max(self.closed_until, now + min(seconds, LONGEST_PAUSE_S))

    def gave_up(self) -> None:
        """Whoever asked went away before there was an answer: nothing is known."""
        self.trying = False
