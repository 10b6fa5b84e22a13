"""HMAC version 1 by the golden vectors that every implementation runs."""

import base64
import json
from pathlib import Path

import hmac_vectors
import pytest

from aion.api import errors, signing

FILE = Path(__file__).resolve().parents[3] / "sdk/contract/hmac.json"
VECTORS = json.loads(FILE.read_text())
FIELDS = ("method", "target", "tenant", "agent_id", "key_id", "timestamp", "nonce")


def names(rows):
    return [pytest.param(row, id=row["name"]) for row in rows]


def keys(tenant, key_id):
    found = VECTORS["keys_base64"].get(tenant, {}).get(key_id)
    return base64.b64decode(found) if found else None


def verify(row, seen):
    body = base64.b64decode(row["body_base64"])
    return signing.verify(
        row["headers"], row["method"], row["target"], body, keys=keys, now_ms=row["now_ms"], seen=seen
    )


def test_the_file_is_what_the_contracts_words_give():
    assert FILE.read_text() == hmac_vectors.text(), "run operator/tests/api/hmac_vectors.py > sdk/contract/hmac.json"
    rows = [*VECTORS["sign"], *VECTORS["refuse_to_sign"], *VECTORS["verify"]]
    assert len({row["name"] for row in VECTORS["verify"]}) == len(VECTORS["verify"])
    assert len(rows) > 50


@pytest.mark.parametrize("row", names(VECTORS["sign"]))
def test_signing_gives_the_golden_mac(row):
    fields = {field: row[field] for field in FIELDS}
    secret, body = base64.b64decode(row["secret_base64"]), base64.b64decode(row["body_base64"])
    assert signing.sign(secret, **fields, body=body) == row["mac"]


@pytest.mark.parametrize("row", names(VECTORS["refuse_to_sign"]))
def test_a_field_of_two_lines_is_never_signed(row):
    fields = {field: row[field] for field in FIELDS}
    with pytest.raises(ValueError, match="line break"):
        signing.sign(b"secret", **fields, body=b"")


@pytest.mark.parametrize("row", names(VECTORS["verify"]))
def test_checking_decides_as_the_vector_says(row):
    seen = signing.ReplayCache()
    for tenant, used in (("tenant-a", row.get("used", ())), ("tenant-b", row.get("used_by_others", ()))):
        for nonce in used:
            seen.remember(tenant, nonce, timestamp_ms=row["now_ms"], now_ms=row["now_ms"])
    before = len(seen)

    if row["expect"] == "ok":
        caller = verify(row, seen)
        assert (caller.tenant, caller.key_id) == (row["headers"]["X-Tenant-Id"], row["headers"]["X-Aion-Key-Id"])
        assert caller.agent_id == row["headers"].get("X-Aion-Agent-Id", "")
        with pytest.raises(errors.Replay):
            verify(row, seen)
        return
    with pytest.raises(errors.of(row["expect"])):
        verify(row, seen)
    assert len(seen) == before, "a request that was refused left its nonce behind"


def test_a_refusal_never_says_which_of_key_and_mac_was_wrong():
    said = set()
    for name in ("a key that is not there", "a tenant that is not there", "another body", "a MAC of zeros"):
        row = next(row for row in VECTORS["verify"] if row["name"] == name)
        with pytest.raises(errors.BadSignature) as caught:
            verify(row, signing.ReplayCache())
        said.add(caught.value.message)
    assert len(said) == 1


def test_headers_of_one_request_are_those_that_checking_takes():
    made = signing.headers(
        b"s3cret", method="GET", target="/v1/agents", tenant="tenant-a", key_id="default", now_ms=5, nonce="n" * 16
    )
    lowered = {name.lower(): value for name, value in made.items()}
    caller = signing.verify(lowered, "GET", "/v1/agents", b"", keys=keys, now_ms=5, seen=signing.ReplayCache())
    assert caller == signing.Caller("tenant-a", "", "default")


def test_a_full_cache_refuses_and_has_room_again_when_nonces_have_aged():
    seen = signing.ReplayCache(capacity=2)
    for nonce in ("a", "b"):
        seen.remember("t", nonce, timestamp_ms=0, now_ms=0)
    with pytest.raises(errors.Replay, match="too many"):
        seen.remember("t", "c", timestamp_ms=0, now_ms=signing.WINDOW_MS + signing.SKEW_MS)
    seen.remember("t", "c", timestamp_ms=40_000, now_ms=signing.WINDOW_MS + signing.SKEW_MS + 1)
    assert len(seen) == 1


def test_a_nonce_is_remembered_as_long_as_its_request_could_still_pass():
    seen = signing.ReplayCache()
    ahead = signing.WINDOW_MS  # a request from a clock that is ahead as far as it may be
    seen.remember("t", "a", timestamp_ms=ahead, now_ms=0)
    with pytest.raises(errors.Replay):
        seen.remember("t", "a", timestamp_ms=ahead, now_ms=ahead + signing.WINDOW_MS)
