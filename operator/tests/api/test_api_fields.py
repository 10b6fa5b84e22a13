"""The forms that fields take, and quantities as numbers."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from aion.api import fields

FORMS = {
    "DnsLabel": (
        ["a", "web-search", "0a", "a" * 63],
        ["", "-a", "a-", "A", "a_b", "a.b", "a" * 64, "a\n", "é"],
    ),
    "DnsSubdomain": (["a", "a.b-c.d", "0"], ["", "a..b", ".a", "a.", "a_b", "a" * 64, "a/b"]),
    "OptionalName": (["", "sealed"], ["a b", "A", "-", "a\n"]),
    "SemVer": (
        ["0.0.0", "1.2.3", "1.0.0-a.1", "1.0.0-0a", "1.0.0+build.01", "1.0.0-x-y+z"],
        ["", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0-01", "1.0.0-", "1.0.0+", "1.0.0-a..b", "1.0.0 ", "1.0.0\n"],
    ),
    "Dollars": (
        ["0", "0.10", "999999999.999999"],
        ["", ".5", "1.", "-1", "1e3", "1,0", "1.0000001", "1000000000", "1\n", " 1"],
    ),
    "ImageRef": (["a", "ghcr.io/a/b:1", "a@sha256:0f"], ["", "/a", "a b", "-a", "a\n", "https://é"]),
    "LabelKey": (["", "a", "x.y/Z_z.z", "a" * 63], ["-a", "a b", "/a", "X/a", "a/", "a" * 64]),
    "LabelValue": (["", "A", "a.b_c-d"], ["a b", "-a", "a-", "a" * 64, "é"]),
    "Quantity": (
        [0, 1, "0", "1", "250m", "1.5", "0.125", "1k", "10M", "1Gi", "2Ti"],
        [
            "",
            "m",
            ".5",
            "1.",
            "-1",
            "+1",
            "1GB",
            "1e3",
            "1 ",
            " 1",
            "1\n",
            "0.1234",
            "1gi",
            -1,
            0.5,
            True,
            None,
            "1" * 13,
        ],
    ),
}


def takes(name, value):
    try:
        TypeAdapter(getattr(fields, name)).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", sorted(FORMS))
def test_a_field_takes_its_form_and_nothing_else(name):
    good, bad = FORMS[name]
    assert [value for value in good if not takes(name, value)] == []
    assert [value for value in bad if takes(name, value)] == []


@pytest.mark.parametrize(
    ("quantity", "number"),
    [
        ("250m", "0.25"),
        ("1", "1"),
        (2, "2"),
        ("0.5", "0.5"),
        ("1k", "1000"),
        ("1M", "1e6"),
        ("1Ki", "1024"),
        ("1Gi", str(1 << 30)),
    ],
)
def test_quantities_are_counted_as_kubernetes_counts(quantity, number):
    assert fields.amount(quantity) == Decimal(number)


@pytest.mark.parametrize("quantity", ["", "x", "1GB", "-1", "1 Gi"])
def test_what_is_no_quantity_is_not_guessed(quantity):
    with pytest.raises(ValueError, match="expected such as 250m"):
        fields.amount(quantity)


@given(st.integers(0, 1 << 50))
def test_bytes_are_rounded_up_to_whole_mebibytes(count):
    whole = fields.mebibytes(count)
    assert (whole - 1) << 20 < count <= whole << 20


def test_the_first_double_is_named():
    with pytest.raises(ValidationError, match="'b' stands twice"):
        TypeAdapter(fields.Annotated[tuple[str, ...], fields.UNIQUE]).validate_python(("a", "b", "b"))
