"""A tenant's quota, shared by all who spend of it: what was charged lately, and what is lent and not charged yet.

Apart because two stores must lend alike: `lend.lua` says the same in Redis, and this in memory; a test compares them.
Pure: the time comes in. What is lent counts as used until its holder gives it back or its lease ends, so in no hour is
more charged than the limit. What can go beyond it is what a holder spent and could not report before its lease ended: at
most what it held, a slice and what its calls under way may cost.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from aion.syscalls.budgets import HOUR_S, MINUTE_S, Window

SLICE = 100
"""A hundredth of the limit is lent beyond what is wanted, so that most calls find it at hand."""

RETURNING_MS = 1000
"""When to ask again where others hold what is missing: they may give it back at any time."""


class Amounts(NamedTuple):
    """Micro-USD of an hour, and tokens of a minute."""

    micro_usd: int = 0
    tokens: int = 0


NOTHING = Amounts()


class Limits(NamedTuple):
    """What a tenant may use, None without bound."""

    micro_usd: int | None = None
    tokens: int | None = None


class Loan(NamedTuple):
    """What is lent; where it is less than what was wanted, how much is used, and when to ask again."""

    lent: Amounts
    used: Amounts = NOTHING
    retry_after_ms: int = 0


@dataclass
class Quota:
    """One tenant's account, in memory."""

    charged: tuple[Window, Window] = field(default_factory=lambda: (Window(HOUR_S), Window(MINUTE_S)))
    leases: dict[str, tuple[Amounts, float]] = field(default_factory=dict)
    """Holder -> what it holds, and until when (seconds)."""

    def charge(self, holder: str, used: Amounts, *, now: float) -> None:
        """Charge what a record says was used, and take it off what its holder has."""
        for window, amount in zip(self.charged, used, strict=True):
            window.add(amount, now)
        if holder in self.leases:
            held, until = self.leases[holder]
            left = (max(0, each - amount) for each, amount in zip(held, used, strict=True))
            self.leases[holder] = (Amounts(*left), until)

    def lend(self, holder: str, held: Amounts, want: Amounts, limits: Limits, *, now: float, ttl_s: float) -> Loan:
        """Lend what is wanted and a slice, as far as the limit allows; `held` replaces what we thought the holder has."""
        self.leases = {name: lease for name, lease in self.leases.items() if lease[1] > now and name != holder}
        lent, used, retry = [], [], 0
        for at, limit in enumerate(limits):
            others = sum(lease[0][at] for lease in self.leases.values())
            taken = self.charged[at].used(now) + others + held[at]
            used.append(taken)
            if limit is None or not want[at]:
                lent.append(want[at])
                continue
            room = max(0, limit - taken)
            lent.append(min(want[at] + limit // SLICE, room))
            if (missing := want[at] - room) > 0:
                retry = max(retry, RETURNING_MS if others >= missing else self.charged[at].wait_ms(missing, now))
        loan = Loan(Amounts(*lent), Amounts(*used), retry)
        holds = Amounts(*(each + more for each, more in zip(held, lent, strict=True)))
        if any(holds):
            self.leases[holder] = (holds, now + ttl_s)
        return loan
