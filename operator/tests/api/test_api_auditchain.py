"""A record's bytes, agreed upon by whoever writes, keeps and checks them."""

import hashlib

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as some

from aion.api import auditchain, channel

WORDS = some.text(some.characters(exclude_categories=["Cs"]), max_size=40)
WHOLE = some.integers(0, (1 << 53) - 1)


@given(WORDS, WHOLE, some.floats(0, 1e9))
def test_the_canonical_form_is_rfc_8785s_so_that_any_library_finds_the_same_digest(text, whole, ms):
    record = channel.AuditRecord(
        n=whole, prev=text, ts_ms=whole, audit_id=text, tenant="t", agent="a", syscall="s", decision="allow",
        rule=text, latency_ms=auditchain.number(round(ms, 3)), micro_usd=whole,
    )  # fmt: skip
    line = auditchain.canonical(record)
    assert line == rfc8785.dumps(msgspec.to_builtins(record))
    assert line == auditchain.canonical(msgspec.json.decode(line))
    assert auditchain.digest(line) == hashlib.sha256(line).hexdigest()


def test_a_chains_name_says_whose_it_is_and_when_it_began():
    name = auditchain.genesis("4f1c-uid", 1_760_000_000_000)
    assert name == "4f1c-uid@1760000000000"
    assert auditchain.holder(name) == "4f1c-uid"


@pytest.mark.parametrize("name", ["", "uid", "uid@", "@5", "u id@5", "uid@5@6", "uid@-5", "u" * 161 + "@5"])
def test_what_is_no_chains_name_is_refused(name):
    with pytest.raises(ValueError, match="expected the name of an audit chain"):
        auditchain.holder(name)


def test_a_chain_without_a_holder_cannot_begin():
    with pytest.raises(ValueError, match="expected a Pod's uid"):
        auditchain.genesis("", 5)
