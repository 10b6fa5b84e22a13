"""What a failed attempt means, and when to make another. Pure.

Apart because three kinds of backend fail alike, by HTTP status or by no answer at all. Another backend may be asked where
the fault was the first one's; nobody is asked again where the fault is in the question. It must never pass on what a
backend says about a key.
"""

import email.utils
from collections.abc import Mapping
from dataclasses import dataclass

from aion.api import errors

ROUNDS = 3
"""Every backend of a route is asked so often at most, in turn."""
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 10.0
"""Who has to wait longer is told so, and may come back."""
MOST_WORDS = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a backend did not answer. `elsewhere`: may another be asked? `ill`: does it count against the backend?"""

    error: errors.SyscallError
    elsewhere: bool = True
    again: bool = True
    ill: bool = True
    rest_s: float | None = None


class Failed(Exception):  # noqa: N818 - what it is
    """Carries a Failure up."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure.error))
        self.failure = failure


def unreachable(backend: str, why: str) -> Failure:
    """Nobody there, or nobody who could be understood."""
    return Failure(errors.UpstreamFailed(f"backend {backend} cannot be reached: {why}", details={"backend": backend}))


def broken(backend: str, why: str) -> Failure:
    """It began to answer and did not end, or not in its own language: nobody is asked again."""
    error = errors.UpstreamFailed(f"backend {backend}: {why}", details={"backend": backend})
    return Failure(error, elsewhere=False, again=False)


def of_status(backend: str, status: int, headers: Mapping[str, str], words: str, *, now: float) -> Failure:
    """What an answer other than 200 means. `words` is what the backend says; `now` is seconds since the epoch."""
    about = {"backend": backend, "status": status}
    said = f": {words[:MOST_WORDS]}" if words else ""
    rest = retry_after(headers, now=now)

    def upstream(why: str, *, wait_s: float | None = None) -> errors.UpstreamFailed:
        wait = None if wait_s is None else int(wait_s * 1000)
        return errors.UpstreamFailed(f"backend {backend} {why}", retry_after_ms=wait, details=about)

    if status == 429:
        busy = upstream(f"takes no more for the moment (429){said}", wait_s=1.0 if rest is None else rest)
        return Failure(busy, ill=False, rest_s=rest)
    if status in (401, 403):
        wrong = upstream(f"refuses its key ({status}): put the right one into Secret aion-model-keys")
        return Failure(wrong, again=False, ill=False)
    if status == 404:
        return Failure(upstream(f"does not know the model (404){said}"), again=False, ill=False)
    if 300 <= status < 400:
        away = upstream(f"redirects ({status}), which is not followed: a key would go with it")
        return Failure(away, again=False, ill=False)
    if status in (408, 425) or status >= 500:
        return Failure(upstream(f"failed ({status}){said}"), rest_s=rest)
    refused = errors.BadParams(f"backend {backend} refuses the question ({status}){said}", details=about)
    return Failure(refused, elsewhere=False, again=False, ill=False)


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds that a backend asks to be left alone, from Retry-After (seconds or a date); None where it does not say."""
    said = headers.get("retry-after", "").strip()
    if said.isdigit() and len(said) < 10:
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def pause(done: int, *, opens_in: float, left: float, toss: float) -> float | None:
    """Seconds to wait after `done` rounds until the next; None where there is none.

    Doubling, with half of it up to chance, but not before a backend may be asked; never longer than the call has left.
    """
    if done >= ROUNDS:
        return None
    wait = max(FIRST_PAUSE_S * 2 ** (done - 1) * (0.5 + toss / 2), opens_in)
    return wait if wait <= LONGEST_PAUSE_S and wait < left else None
