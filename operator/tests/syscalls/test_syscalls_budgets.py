"""An account is never overdrawn, whatever is reserved and settled in whatever order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from aion.api import errors
from aion.syscalls.budgets import TASKS, Claim, Ledger, Window
from aion.syscalls.testing import granted

LIFE, HOUR, TASK, MINUTE = 4000, 1000, 700, 500
GRANT = granted(budget_micro_usd=LIFE, hour_micro_usd=HOUR, task_micro_usd=TASK, minute_tokens=MINUTE)
NOTHING = granted()


def reserve(ledger, cost=0, tokens=0, *, grant=NOTHING, call_max=None, task="", now=0.0):
    ledger.reserve(Claim(cost, tokens), grant, call_max=call_max, task=task, now=now)


class Life(RuleBasedStateMachine):
    """Calls of three tasks come and go over hours; each takes no more than what was set aside for it."""

    under_way = Bundle("under_way")

    def __init__(self):
        super().__init__()
        self.ledger = Ledger()
        self.now = 0.0
        self.open: list[tuple[Claim, str]] = []
        self.used: list[tuple[float, str, Claim]] = []

    def lately(self, span_s, at):
        return sum(used[at] for when, _, used in self.used if when > self.now - span_s)

    @rule(seconds=some.floats(0, 2000))
    def wait(self, seconds):
        self.now += seconds

    @rule(target=under_way, cost=some.integers(0, 400), tokens=some.integers(0, 300), task=some.sampled_from("abc"))
    def begin(self, cost, tokens, task):
        worst = Claim(cost, tokens)
        try:
            self.ledger.reserve(worst, GRANT, call_max=None, task=task, now=self.now)
        except (errors.QuotaExceeded, errors.BudgetSpent):
            return None
        self.open.append((worst, task))
        return worst, task

    @rule(call=consumes(under_way), share=some.floats(0, 1))
    def end(self, call, share):
        if call is None:
            return
        worst, task = call
        used = Claim(int(worst.micro_usd * share), int(worst.tokens * share))
        self.ledger.settle(worst, used, task=task, now=self.now)
        self.open.remove(call)
        self.used.append((self.now, task, used))

    @invariant()
    def nothing_is_overrun(self):
        reserved = [sum(worst[at] for worst, _ in self.open) for at in (0, 1)]
        assert sum(used.micro_usd for _, _, used in self.used) + reserved[0] <= LIFE
        assert self.lately(3600, 0) + reserved[0] <= HOUR
        assert self.lately(60, 1) + reserved[1] <= MINUTE
        for task in "abc":
            mine = sum(used.micro_usd for _, whose, used in self.used if whose == task)
            assert mine + sum(worst.micro_usd for worst, whose in self.open if whose == task) <= TASK
        assert (self.ledger.reserved, self.ledger.reserved_tokens) == tuple(reserved)


Life.TestCase.settings = settings(deadline=None)
TestLife = Life.TestCase


@given(some.lists(some.tuples(some.floats(0, 500), some.integers(1, 100)), max_size=40))
def test_a_window_counts_all_of_its_span_and_never_more_than_a_bucket_longer(uses):
    window, now, kept = Window(600), 0.0, []
    for pause, amount in uses:
        now += pause
        window.add(amount, now)
        kept.append((now, amount))
        exact, wide = (sum(each for when, each in kept if when > now - span) for span in (600, 611))
        assert exact <= window.used(now) <= wide


@given(
    some.lists(some.tuples(some.floats(0, 100), some.integers(1, 100)), min_size=1, max_size=20), some.integers(1, 500)
)
def test_whoever_waits_as_long_as_it_was_told_finds_what_it_needs(uses, need):
    window, now = Window(600), 0.0
    for pause, amount in uses:
        now += pause
        window.add(amount, now)
    before = window.used(now)
    assert window.used(now + window.wait_ms(min(need, before), now) / 1000) <= before - min(need, before)


def test_what_costs_nothing_is_never_refused():
    spent = Ledger(spent=50)
    reserve(spent, grant=granted(budget_micro_usd=10, hour_micro_usd=0), call_max=0)
    assert spent.reserved == 0


@given(some.integers(1, 10**15), some.integers(0, 10**15))
def test_the_tightest_limit_decides_and_is_named_in_dollars(worst, limit):
    for limits in (
        {"call_max": limit},
        {"grant": granted(budget_micro_usd=limit)},
        {"grant": granted(task_micro_usd=limit), "task": "t"},
        {"grant": granted(hour_micro_usd=limit)},
    ):
        ledger = Ledger()
        if worst <= limit:
            reserve(ledger, worst, **limits)
            assert ledger.reserved == worst
        else:
            with pytest.raises(errors.BudgetSpent, match="USD"):
                reserve(ledger, worst, **limits)
            assert ledger.reserved == 0


def test_a_refusal_says_what_is_left_and_never_less_than_nothing():
    with pytest.raises(errors.BudgetSpent) as refused:
        reserve(Ledger(spent=30, reserved=20), 10, grant=granted(budget_micro_usd=40))
    assert refused.value.details == {"worst_usd": "0.00001", "left_usd": "0"}


def test_a_rate_that_is_used_up_says_when_to_come_back_and_one_that_never_fits_does_not():
    ledger = Ledger()
    grant = granted(hour_micro_usd=100, minute_tokens=100)
    reserve(ledger, 60, grant=grant, now=30.0)
    ledger.settle(Claim(60), Claim(60, 80), task="", now=30.0)
    for cost, tokens, within_ms in ((50, 0, 3_661_000), (0, 50, 62_000)):
        with pytest.raises(errors.QuotaExceeded) as refused:
            reserve(ledger, cost, tokens, grant=grant, now=31.0)
        assert 0 < refused.value.retry_after_ms <= within_ms
        reserve(ledger, cost, tokens, grant=grant, now=31.0 + refused.value.retry_after_ms / 1000)
    for cost, tokens in ((101, 0), (0, 101)):
        with pytest.raises(errors.BudgetSpent):
            reserve(Ledger(), cost, tokens, grant=grant)


def test_of_many_tasks_those_with_calls_under_way_are_never_forgotten():
    ledger, grant = Ledger(), granted(task_micro_usd=100)
    reserve(ledger, 80, grant=grant, task="first")
    for n in range(TASKS + 10):
        reserve(ledger, 1, grant=grant, task=f"t{n}")
        ledger.settle(Claim(1), Claim(1), task=f"t{n}", now=0.0)
    with pytest.raises(errors.BudgetSpent, match=r"its task has 0\.00002 left"):
        reserve(ledger, 30, grant=grant, task="first")
