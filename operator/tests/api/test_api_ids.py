"""Identities and units."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion.api import ids

TIMES = st.integers(0, (1 << 48) - 1)
RANDOM = st.binary(min_size=10, max_size=10)


@given(st.from_regex(r"[A-Za-z0-9._-]{1,63}", fullmatch=True), st.from_regex(r"[A-Za-z0-9._-]{1,63}", fullmatch=True))
def test_an_agent_id_comes_apart_as_it_was_put_together(tenant, name):
    assert ids.parse_agent_id(ids.agent_id(tenant, name)) == (tenant, name)


@pytest.mark.parametrize(
    "text",
    [
        "", "researcher", "agent://tenant-a", "agent://tenant-a/", "agent:///x", "agent://a/b/c", "agent://a b/c", "AGENT://a/b",
        "agent://a/b\n", "agent://" + "a" * 64 + "/b", "agent://a/" + "b" * 64, "agent://ä/b",
    ],
)  # fmt: skip
def test_what_is_no_agent_id_is_refused_with_the_form_that_is(text):
    with pytest.raises(ValueError, match="expected agent://<tenant>/<name>"):
        ids.parse_agent_id(text)


@pytest.mark.parametrize(
    ("name", "so"), [("tenant-a", True), ("tenantA", True), ("a b", False), ("", False), ("a\n", False)]
)
def test_a_tenants_name_is_known_by_its_form(name, so):
    assert ids.is_tenant(name) is so


@given(TIMES, RANDOM)
def test_an_audit_id_is_sc_and_26_letters_of_crockford(now, rand):
    made = ids.audit_id(now, rand)
    assert made.startswith("sc-")
    assert len(made) == 29
    assert not set(made[3:]) - set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


@given(TIMES, TIMES, RANDOM, RANDOM)
def test_audit_ids_sort_by_time(earlier, later, one, other):
    earlier, later = sorted((earlier, later))
    if earlier < later:
        assert ids.audit_id(earlier, one) < ids.audit_id(later, other)


def test_an_audit_id_is_the_ulid_of_its_time_and_randomness():
    assert ids.audit_id(1_469_918_176_385, bytes(range(10))) == "sc-01ARYZ6S4100G40R40M30E2G9"[:3] + _ulid(
        1_469_918_176_385, bytes(range(10))
    )


def _ulid(now, rand):
    letters, value = "0123456789ABCDEFGHJKMNPQRSTVWXYZ", int.from_bytes(now.to_bytes(6) + rand)
    return "".join(letters[(value >> (5 * place)) & 31] for place in range(25, -1, -1))


@pytest.mark.parametrize(("now", "rand"), [(0, b"short"), (-1, bytes(10)), (1 << 48, bytes(10))])
def test_an_audit_id_is_not_made_of_something_else(now, rand):
    with pytest.raises(ValueError, match="expected"):
        ids.audit_id(now, rand)


@pytest.mark.parametrize(
    ("amount", "micros"),
    [
        ("0.10", 100_000), ("0", 0), ("1", 1_000_000), ("0.000001", 1), ("1000000000", 10**15), ("1e-3", 1000), (0.1, 100_000),
        (0.1 + 0.2, 300_000), (2, 2_000_000), (Decimal("0.5"), 500_000), (1e-7, 0),
    ],
)  # fmt: skip
def test_dollars_become_whole_micros(amount, micros):
    assert ids.micro_usd(amount) == micros


@pytest.mark.parametrize(
    "amount",
    ["", "x", "-1", "1_000", " 1", "+1", "0.1.2", "1,5", "$1", "NaN", "Infinity", "0.0000001", "1000000000.01", "١", -0.5,
     float("nan"), float("inf"), True, "0." + "0" * 40 + "1", "1e999999999"],
)  # fmt: skip
def test_what_is_no_amount_of_dollars_is_refused(amount):
    with pytest.raises(ValueError, match="got"):
        ids.micro_usd(amount)


@given(st.integers(0, 10**15))
def test_micros_survive_as_text(micros):
    assert ids.micro_usd(ids.usd(micros)) == micros


@pytest.mark.parametrize(("micros", "text"), [(0, "0"), (100_000, "0.1"), (1, "0.000001"), (10_000_000, "10")])
def test_dollars_are_written_without_trailing_zeros(micros, text):
    assert ids.usd(micros) == text


def test_what_was_read_before_is_not_taken_for_what_only_equals_it():
    assert [ids.micro_usd(1), ids.micro_usd(1.0), ids.micro_usd("1"), ids.micro_usd(Decimal(1))] == [1_000_000] * 4
    with pytest.raises(ValueError, match="got a boolean"):
        ids.micro_usd(True)
