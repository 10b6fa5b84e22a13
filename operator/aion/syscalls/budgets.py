"""Money and tokens of one agent in this process: reserved before the work, settled after it.

Apart because the check and the reservation must be one step: between them stands no await, or two calls at once would
both find the last cent. Pure: the time comes in. It must never hold money as a float, nor forget a reservation.

    what a call may cost       grant.call_micro_usd, the request's usd_max      E_BUDGET
    what a task may cost       grant.task_micro_usd                             E_BUDGET
    what the agent may cost    grant.budget_micro_usd, in its Pod's life        E_BUDGET
    … in an hour, a minute     grant.hour_micro_usd, grant.minute_tokens        E_QUOTA, with when to come back
    … and its whole tenant     `purse`: what the kernel has leased to us        E_QUOTA, with when to come back
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from aion.api import errors, ids
from aion.api.grant import Grant
from aion.syscalls.purse import Purse

HOUR_S, MINUTE_S = 3600.0, 60.0
TASKS = 4096
"""Tasks whose account is remembered, the one used last the longest."""


class Claim(NamedTuple):
    """So much money, and so many tokens."""

    micro_usd: int = 0
    tokens: int = 0


class Window:
    """What was used within a span that slides, by buckets of a sixtieth of it.

    A bucket counts until its youngest use is a whole span old, so what is used in any span never exceeds what was let
    in; it errs by one bucket, on the safe side.
    """

    def __init__(self, span_s: float) -> None:
        self._span = span_s
        self._bucket = span_s / 60
        self._kept: deque[list[int]] = deque()
        """Pairs of a bucket's number and its amount, oldest first."""
        self._used = 0

    def used(self, now: float) -> int:
        """What counts now."""
        oldest = int((now - self._span) // self._bucket)
        while self._kept and self._kept[0][0] < oldest:
            self._used -= self._kept.popleft()[1]
        return self._used

    def add(self, amount: int, now: float) -> None:
        """Count so much, used now."""
        bucket = int(now // self._bucket)
        if self._kept and self._kept[-1][0] == bucket:
            self._kept[-1][1] += amount
        else:
            self._kept.append([bucket, amount])
        self._used += amount

    def wait_ms(self, need: int, now: float) -> int:
        """How long until so much of what counts now counts no more."""
        freed = 0
        for bucket, amount in self._kept:
            freed += amount
            if freed >= need:
                return max(1, math.ceil(((bucket + 1) * self._bucket + self._span - now) * 1000))
        return math.ceil(self._span * 1000)


@dataclass(slots=True)
class Account:
    """What was spent, and what calls under way may still spend, in micro-USD."""

    spent: int = 0
    reserved: int = 0

    def left(self, most: int) -> int:
        """What may still be reserved of so much."""
        return max(0, most - self.spent - self.reserved)


@dataclass(slots=True)
class Ledger(Account):
    """An agent's account, with those of its tasks, and what it used lately."""

    reserved_tokens: int = 0
    purse: Purse | None = None
    """What its tenant's quota has lent to this process; None where the tenant has none."""
    _hour: Window = field(default_factory=lambda: Window(HOUR_S))
    _minute: Window = field(default_factory=lambda: Window(MINUTE_S))
    _tasks: dict[str, Account] = field(default_factory=dict)

    def reserve(self, worst: Claim, grant: Grant, *, call_max: int | None, task: str, now: float) -> None:
        """Set aside what a call may use at most; raises BudgetSpent or QuotaExceeded. What costs nothing is never refused."""
        cost, tokens = worst
        if cost:
            self._within(cost, call_max, "its budget has", "call_usd_max")
            if grant.task_micro_usd is not None and task:
                self._within(cost, self._task(task).left(grant.task_micro_usd), "its task has", "left_usd")
            if grant.budget_micro_usd is not None:
                self._within(cost, self.left(grant.budget_micro_usd), "the agent has", "left_usd")
            if (most := grant.hour_micro_usd) is not None:
                self._within(cost, most, "an agent's hour has", "hour_usd_max")
                if (over := self._hour.used(now) + self.reserved + cost - most) > 0:
                    raise errors.QuotaExceeded(
                        f"the call may cost {ids.usd(cost)} USD, more than the agent has left of "
                        f"{ids.usd(most)} USD an hour (policy budgets.agent_usd_per_hour)",
                        retry_after_ms=self._hour.wait_ms(over, now),
                    )
        if tokens and (most := grant.minute_tokens) is not None:
            if tokens > most:
                raise errors.BudgetSpent(
                    f"the call may use {tokens} tokens, an agent's minute has {most} (policy budgets.agent_tokens_per_minute)"
                )
            if (over := self._minute.used(now) + self.reserved_tokens + tokens - most) > 0:
                raise errors.QuotaExceeded(
                    f"the call may use {tokens} tokens, more than the agent has left of {most} a minute "
                    "(policy budgets.agent_tokens_per_minute)",
                    retry_after_ms=self._minute.wait_ms(over, now),
                )
        if self.purse is not None:
            self.purse.take(cost, tokens)
        self.reserved += cost
        self.reserved_tokens += tokens
        if cost and task:
            self._task(task).reserved += cost

    def settle(self, worst: Claim, used: Claim, *, task: str, now: float) -> None:
        """Give back what was reserved and charge what it really took."""
        if worst == used == (0, 0):
            return
        self.reserved -= worst.micro_usd
        self.reserved_tokens -= worst.tokens
        self.spent += used.micro_usd
        if used.micro_usd:
            self._hour.add(used.micro_usd, now)
        if used.tokens:
            self._minute.add(used.tokens, now)
        if task and (worst.micro_usd or used.micro_usd):
            account = self._task(task)
            account.reserved -= worst.micro_usd
            account.spent += used.micro_usd
        if self.purse is not None:
            self.purse.settle(worst, used)

    @staticmethod
    def _within(cost: int, left: int | None, whose: str, detail: str) -> None:
        if left is not None and cost > left:
            raise errors.BudgetSpent(
                f"the call may cost {ids.usd(cost)} USD, {whose} {ids.usd(left)} left",
                details={"worst_usd": ids.usd(cost), detail: ids.usd(left)},
            )

    def _task(self, task: str) -> Account:
        account = self._tasks.pop(task, None) or Account()
        self._tasks[task] = account  # at the end: the one used last is forgotten last
        if len(self._tasks) > TASKS:
            self._forget()
        return account

    def _forget(self) -> None:
        """Let go of the account that was used longest ago and has nothing reserved."""
        idle = next((name for name, account in self._tasks.items() if not account.reserved), None)
        if idle is not None:
            del self._tasks[idle]
