"""How a reconciliation ended, as a type: the worker reads it and nothing else decides when to look again.

Done      everything is as it should be, or an event will tell when it changes
After     look again in so many seconds, event or not
Waiting   something that others do is still missing; its event will wake us, `seconds` is the net below
Transient the attempt failed for no fault of the object: again, with backoff
Stalled   only a change by a person helps: no retry until the object changes
Gone      the object is no more, and nothing of it stays behind in the queue
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing left to do."""


@dataclass(frozen=True, slots=True)
class After:
    """Look again by ourselves."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """Others must act first."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Transient:
    """Try again; `at_least` where the server named a delay."""

    why: str
    at_least: float = 0.0


@dataclass(frozen=True, slots=True)
class Stalled:
    """A person must act."""

    why: str


@dataclass(frozen=True, slots=True)
class Gone:
    """Nothing to come back for."""


Outcome: TypeAlias = Done | After | Waiting | Transient | Stalled | Gone
