"""The ids of rotated keys say from when on they sign; every other id signs always."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion.api import keyids


@given(st.integers(10**9, 10**12 - 1))
def test_a_rotated_id_is_read_back(second):
    assert keyids.signs_from(keyids.rotated(second)) == second


@pytest.mark.parametrize("key_id", ["default", "", "key-", "key-1", "key-x", "xkey-1790000000", "key-1790000000-b"])
def test_any_other_id_signs_always(key_id):
    assert keyids.signs_from(key_id) == 0
