"""Patterns over dotted names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion.api import patterns, syscall


@pytest.mark.parametrize(
    ("pattern", "name", "so"),
    [
        ("*", "memory.put", True),
        ("memory.*", "memory.put", True),
        ("memory.put", "memory.put", True),
        ("memory.*", "memory", False),
        ("memory.*", "memoryx.put", False),
        ("memory.p*", "memory.put", False),
        ("*.put", "memory.put", False),
        ("memory", "memory.put", False),
        ("", "memory.put", False),
        ("network", "network", True),
    ],
)
def test_a_pattern_covers_itself_its_family_or_everything(pattern, name, so):
    assert patterns.covers(pattern, name) is so


@given(st.sampled_from(syscall.NAMES), st.sampled_from(syscall.NAMES))
def test_a_family_covers_exactly_its_members(one, other):
    family = one.partition(".")[0]
    assert patterns.covers(f"{family}.*", other) is (other.partition(".")[0] == family)


def test_the_first_pattern_that_covers_is_named():
    assert patterns.first(["net.*", "memory.put", "memory.*"], "memory.put") == "memory.put"
    assert patterns.first(["net.*"], "memory.put") is None
    assert patterns.first([], "memory.put") is None
