"""How often somebody may ask: GCRA, one number a caller. Pure; `edge` asks it with the clock.

It stands apart from budgets and quotas, which are about what calls cost and hold for all replicas together: this bounds what
one replica does for one caller before anything is known of the call, so it asks nobody. A tenant's limit over n replicas
is n times the number. It must never forget a caller who is over the limit because others came.
"""

from collections import OrderedDict
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Rates(BaseModel):
    """Requests a second, and for how many seconds' worth one may be ahead; 0 is no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)

    tenant_per_second: float = Field(500.0, ge=0, le=1e6)
    """All callers of a tenant together."""
    caller_per_second: float = Field(100.0, ge=0, le=1e6)
    """One agent, one person, one account."""
    stranger_per_second: float = Field(10.0, ge=0, le=1e6)
    """Requests of one address whose proof fails; beyond it, no proof of that address is looked at for a while."""
    burst_seconds: float = Field(2.0, gt=0, le=600)


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second, and so many at once."""

    per_s: float
    burst: int

    @classmethod
    def of(cls, per_s: float, burst_s: float) -> "Rate | None":
        """Return the rate, None where there is no limit."""
        return cls(per_s, max(1, round(per_s * burst_s))) if per_s > 0 else None


def admit(due: float, rate: Rate, *, now: float) -> tuple[float, float]:
    """Return when the next request would be due if they came evenly, and how long this one has to wait (0: it is admitted).

    The generic cell rate algorithm: `due` is the theoretical arrival time, and `burst - 1` intervals are its tolerance.
    """
    interval = 1.0 / rate.per_s
    due = max(due, now)
    wait = due - (rate.burst - 1) * interval - now
    return (due, wait) if wait > 1e-9 else (due + interval, 0.0)  # a nanosecond is what floats lose on the way


class Meter:
    """What is due by caller. Beyond `most`, those are forgotten who have no debt, and then who came longest ago."""

    def __init__(self, rate: Rate, *, most: int = 50_000) -> None:
        self.rate = rate
        self._most = most
        self._due: OrderedDict[str, float] = OrderedDict()

    def wait(self, key: str, *, now: float) -> float:
        """Say how long somebody would have to wait, and charge nothing."""
        return admit(self._due.get(key, 0.0), self.rate, now=now)[1]

    def charge(self, key: str, *, now: float) -> float:
        """Charge one request where it is admitted; returns how long it has to wait otherwise."""
        due, wait = admit(self._due.get(key, 0.0), self.rate, now=now)
        self._due[key] = due
        self._due.move_to_end(key)
        if len(self._due) > self._most:
            self._forget(now)
        return wait

    def _forget(self, now: float) -> None:
        self._due = OrderedDict((key, due) for key, due in self._due.items() if due > now)
        while len(self._due) > self._most * 3 // 4:  # so that the next one does not look through all again
            self._due.popitem(last=False)
