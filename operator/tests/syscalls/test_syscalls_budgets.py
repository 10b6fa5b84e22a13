"""An account is never overdrawn, whatever is reserved and settled in whatever order."""

import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from aion.api import errors
from aion.syscalls.budgets import Ledger

LIMIT = 1000


class Account(RuleBasedStateMachine):
    """Calls come and go; each costs no more than what was set aside for it."""

    under_way = Bundle("under_way")

    def __init__(self):
        super().__init__()
        self.ledger = Ledger()
        self.reserved: list[int] = []
        self.spent = 0

    @rule(target=under_way, worst=some.integers(1, 600))
    def begin(self, worst):
        fits = self.spent + sum(self.reserved) + worst <= LIMIT
        try:
            self.ledger.reserve(worst, agent_max=LIMIT, call_max=None)
        except errors.BudgetSpent:
            assert not fits
            return 0
        assert fits
        self.reserved.append(worst)
        return worst

    @rule(worst=consumes(under_way), share=some.floats(0, 1))
    def end(self, worst, share):
        if worst:
            cost = int(worst * share)
            self.ledger.settle(worst, cost)
            self.reserved.remove(worst)
            self.spent += cost

    @invariant()
    def balances(self):
        assert (self.ledger.spent, self.ledger.reserved) == (self.spent, sum(self.reserved))
        assert self.ledger.spent + self.ledger.reserved <= LIMIT


TestAccount = Account.TestCase


def test_what_costs_nothing_is_never_refused():
    spent = Ledger(spent=50)
    spent.reserve(0, agent_max=10, call_max=0)
    assert spent.reserved == 0


@given(some.integers(1, 10**15), some.integers(0, 10**15))
def test_the_tighter_of_two_limits_decides_and_is_named_in_dollars(worst, limit):
    for limits in ({"agent_max": limit, "call_max": None}, {"agent_max": None, "call_max": limit}):
        ledger = Ledger()
        if worst <= limit:
            ledger.reserve(worst, **limits)
            assert ledger.reserved == worst
        else:
            with pytest.raises(errors.BudgetSpent, match="USD"):
                ledger.reserve(worst, **limits)
            assert ledger.reserved == 0


def test_a_refusal_says_what_is_left_and_never_less_than_nothing():
    with pytest.raises(errors.BudgetSpent) as refused:
        Ledger(spent=30, reserved=20).reserve(10, agent_max=40, call_max=None)
    assert refused.value.details == {"worst_usd": "0.00001", "left_usd": "0"}
