"""The budget of writes: paced, fair, and obedient to the server's word."""

import asyncio
import time

from hypothesis import given
from hypothesis import strategies as st

from aion.controller.budget import Budget


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_a_burst_goes_at_once_and_the_rest_at_the_rate():
    budget = Budget(per_s=10, burst=3, clock=Clock())
    assert [round(budget.book(), 6) for _ in range(5)] == [0, 0, 0, 0.1, 0.2]


def test_an_idle_hour_saves_up_one_burst_and_no_more():
    clock = Clock()
    budget = Budget(per_s=10, burst=3, clock=clock)
    clock.now += 3600
    assert [round(budget.book(), 6) for _ in range(4)] == [0, 0, 0, 0.1]


@given(st.lists(st.floats(0, 2), min_size=1, max_size=60), st.integers(1, 50), st.integers(1, 20))
def test_no_window_ever_holds_more_than_its_rate_and_one_burst_and_nobody_overtakes(pauses, per_s, burst):
    clock = Clock()
    budget = Budget(per_s=per_s, burst=burst, clock=clock)
    sent = []
    for pause in pauses:
        clock.now += pause
        sent.append(clock.now + budget.book())
    assert sent == sorted(sent)
    for first, start in enumerate(sent):
        for last in range(first, len(sent)):
            assert last - first + 1 <= burst + per_s * (sent[last] - start) + 1e-3


def test_the_servers_word_makes_everybody_wait_and_saves_nothing_up():
    clock = Clock()
    budget = Budget(per_s=10, burst=3, clock=clock)
    budget.pause(5)
    budget.pause(2)
    assert round(budget.book(), 6) == 5
    clock.now += 5
    assert round(budget.book(), 6) == 0.1


async def test_who_waits_already_waits_for_the_rest_too():
    budget = Budget(per_s=50, burst=1)
    await budget.take()
    began = time.monotonic()
    waiting = asyncio.create_task(budget.take())
    await asyncio.sleep(0)
    budget.pause(0.2)
    await waiting
    assert time.monotonic() - began >= 0.2
