"""What the kernel has lent of a tenant's quota to one process, to be spent without asking again.

Apart because a tenant's agents run in many Pods, and no call may wait for all of them: the kernel leases slices, and what
is leased counts as used until it is given back. Only a call that finds too little at hand waits, for one answer. It must
never spend after its lease has ended, nor more than it holds: what is at hand and what calls under way have taken.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aion.api import errors, ids
from aion.api.channel import Lease, Leased

ANSWER_S = 2.0
"""A call waits so long for the kernel's answer, or as long as its own time allows."""

IDLE_S = 60.0
"""What was not touched for so long is given back: others of the tenant may need it."""

_RETRY_MS = 1000


@dataclass(slots=True)
class Pocket:
    """One measure: micro-USD, or tokens."""

    limited: bool = False
    at_hand: int = 0
    taken: int = 0
    wanted: int = 0

    def covers(self, amount: int) -> bool:
        """Is there so much at hand?"""
        return not self.limited or amount <= self.at_hand

    def take(self, amount: int) -> None:
        """For a call."""
        self.at_hand -= amount
        self.taken += amount

    def settle(self, taken: int, used: int) -> None:
        """What a call did not use is at hand again; what it used beyond that is missing there."""
        self.taken -= taken
        self.at_hand += taken - used

    @property
    def held(self) -> int:
        """At hand, and taken by calls under way. A debt is not held: what was used is charged by its record."""
        return max(0, self.at_hand) + self.taken


class Purse:
    """Money and tokens of a tenant, in one process. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ask: Callable[[], None] = lambda: None
        self.usd, self.tokens = Pocket(), Pocket()
        self._until = self._touched = 0.0
        self._asked = self._returning = False
        self._answers = asyncio.Event()
        self._refusal: errors.QuotaExceeded | None = None

    def on_wanted(self, call: Callable[[], None]) -> None:
        """Have `call` run whenever `lease` has something to say."""
        self._ask = call

    def limit(self, *, usd: bool, tokens: bool) -> None:
        """Say which of the two the tenant's quota bounds."""
        self.usd.limited, self.tokens.limited = usd, tokens

    def covers(self, cost: int, tokens: int) -> bool:
        """Is there so much at hand, by a lease that still runs?"""
        bounded = (cost and self.usd.limited) or (tokens and self.tokens.limited)
        return not bounded or (
            self._clock() < self._until
            and (not cost or self.usd.covers(cost))
            and (not tokens or self.tokens.covers(tokens))
        )

    async def filled(self, cost: int, tokens: int, *, within_s: float) -> None:
        """Return when so much is at hand, for whoever takes it before the next await.

        Raises QuotaExceeded where the kernel lends no more, Unavailable where it does not answer.
        """
        deadline = self._clock() + min(within_s, ANSWER_S)
        while not self.covers(cost, tokens):
            answers = self._answers
            self.usd.wanted += cost
            self.tokens.wanted += tokens
            self._ask()
            try:
                async with asyncio.timeout(deadline - self._clock()):
                    await answers.wait()
            except TimeoutError:
                raise errors.Unavailable(
                    "the tenant's quota cannot be asked for: the kernel does not answer", retry_after_ms=_RETRY_MS
                ) from None
            finally:
                self.usd.wanted -= cost
                self.tokens.wanted -= tokens
            if self._refusal is not None and not self.covers(cost, tokens):
                raise errors.QuotaExceeded(self._refusal.message, retry_after_ms=self._refusal.retry_after_ms)

    def take(self, cost: int, tokens: int) -> None:
        """Take so much for a call; raises QuotaExceeded where it is not at hand."""
        if not self.covers(cost, tokens):
            raise errors.QuotaExceeded(
                f"the call may cost {ids.usd(cost)} USD and use {tokens} tokens, more than its tenant's quota has lent",
                retry_after_ms=_RETRY_MS,
            )
        self._touched = self._clock()
        self.usd.take(cost)
        self.tokens.take(tokens)

    def settle(self, taken: tuple[int, int], used: tuple[int, int]) -> None:
        """End a call: what it took, and what it used."""
        self.usd.settle(taken[0], used[0])
        self.tokens.settle(taken[1], used[1])

    @property
    def returning(self) -> bool:
        """Has the kernel to be told yet that all was given back?"""
        return self._returning

    def give_back(self) -> None:
        """Hold nothing any more but what calls under way have taken."""
        self._returning = self._until > 0
        self._until = 0.0
        self.usd.at_hand = self.tokens.at_hand = 0
        self._ask()

    def rewind(self) -> None:
        """The connection is a new one: no answer will come to what was asked on the last."""
        self._asked = False

    def lease(self, *, renew: bool = False) -> Lease | None:
        """What to tell the kernel: what is held, and what is wanted; None where there is nothing to say.

        One question at a time, for its answer adds up. To `renew` is to say what is held though nothing is wanted; what
        lies idle is given back then.
        """
        wanted = self.usd.wanted or self.tokens.wanted
        if self._asked or not (wanted or self._returning or (renew and (self.usd.held or self.tokens.held))):
            return None
        self._returning = False
        if not wanted and self._clock() - self._touched > IDLE_S:
            self.usd.at_hand = self.tokens.at_hand = 0
        self._asked = True
        return Lease(
            held_micro_usd=self.usd.held,
            held_tokens=self.tokens.held,
            want_micro_usd=max(0, self.usd.wanted - max(0, self.usd.at_hand)),
            want_tokens=max(0, self.tokens.wanted - max(0, self.tokens.at_hand)),
        )

    def answer(self, leased: Leased) -> None:
        """Take what the kernel lends, and wake whoever waits for it."""
        self._asked = False
        self.usd.at_hand = max(0, self.usd.at_hand) + leased.micro_usd
        self.tokens.at_hand = max(0, self.tokens.at_hand) + leased.tokens
        if leased.ttl_s > 0:  # else nobody answered for the quota: what was lent before is lent still
            self._until = self._clock() + leased.ttl_s
        self._touched = self._clock() if leased.micro_usd or leased.tokens else self._touched
        self._refusal = None
        if leased.refused:
            self._refusal = errors.QuotaExceeded(leased.refused, retry_after_ms=leased.retry_after_ms)
        self._answers.set()
        self._answers = asyncio.Event()
