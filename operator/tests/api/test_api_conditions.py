"""Conditions, by the rules of kstatus."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion.api import conditions
from aion.api.conditions import Condition

THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"

CONDITIONS = st.lists(
    st.builds(
        Condition,
        st.sampled_from(conditions.TYPES),
        st.sampled_from(["True", "False", "Unknown"]),
        st.sampled_from(sorted(conditions.REASONS)),
        st.text(max_size=20),
    ),
    unique_by=lambda condition: condition.type,
)


def settle(wanted, before=(), generation=1, now=NOW):
    return conditions.settle(wanted, before=before, generation=generation, now=now)


def test_the_time_of_a_transition_stays_while_the_status_does():
    before = settle([conditions.false(conditions.READY, conditions.STARTING)], now=THEN)
    (same,) = settle([conditions.false(conditions.READY, conditions.CRASH_LOOP, "said")], before, generation=2)
    (changed,) = settle([conditions.true(conditions.READY, conditions.RUNNING)], before)
    assert (same.last_transition_time, same.reason, same.observed_generation) == (THEN, conditions.CRASH_LOOP, 2)
    assert changed.last_transition_time == NOW


@pytest.mark.parametrize("kind", [conditions.RECONCILING, conditions.STALLED])
def test_reconciling_and_stalled_are_there_only_while_true(kind):
    assert settle([conditions.false(kind, conditions.PROGRESSING)]) == ()
    assert settle([conditions.unknown(kind, conditions.PROGRESSING)]) == ()
    assert [each.type for each in settle([conditions.true(kind, conditions.PROGRESSING)])] == [kind]


@given(CONDITIONS, CONDITIONS)
def test_settling_twice_changes_nothing(wanted, before):
    once = settle(wanted, before)
    assert settle(once, once, now="2027-01-01T00:00:00Z") == once
    assert [each.type for each in once] == sorted((each.type for each in once), key=conditions.TYPES.index)


@given(CONDITIONS)
def test_what_is_written_is_read_back(wanted):
    settled = settle(wanted)
    assert conditions.read([each.document() for each in settled]) == settled


def test_what_is_malformed_in_a_status_is_left_out():
    good = conditions.true(conditions.READY, conditions.RUNNING).document()
    assert len(conditions.read([good, {}, {"type": "Ready"}, {"type": "Ready", "status": "Maybe"}])) == 1
    assert conditions.read(None) == ()


def test_a_message_is_cut_to_what_a_terminal_shows():
    (made,) = settle([conditions.false(conditions.READY, conditions.CRASH_LOOP, "x" * 5000)])
    assert len(made.message) == conditions.MAX_MESSAGE


def test_truth_is_true_and_nothing_else():
    told = [
        conditions.true(conditions.ACCEPTED, conditions.VALID),
        conditions.unknown(conditions.READY, conditions.STARTING),
    ]
    assert conditions.is_true(told, conditions.ACCEPTED)
    assert not conditions.is_true(told, conditions.READY)
    assert not conditions.is_true(told, conditions.STALLED)
    assert conditions.find(told, conditions.STALLED) is None


def test_reasons_and_types_are_words_that_kubernetes_takes_and_never_the_same():
    assert conditions.REASONS
    assert all(word.isalpha() and word[0].isupper() for word in (*conditions.REASONS, *conditions.TYPES))
    assert not conditions.REASONS & set(conditions.TYPES)
