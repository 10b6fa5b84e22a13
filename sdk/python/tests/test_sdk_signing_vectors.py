"""HMAC version 1 by the golden vectors that every implementation runs."""

import base64
import json
from pathlib import Path

import pytest

from aion_sdk import signing

VECTORS = json.loads((Path(__file__).resolve().parents[2] / "contract/hmac.json").read_text())
FIELDS = ("method", "target", "tenant", "agent_id", "key_id", "nonce")


def names(rows):
    return [pytest.param(row, id=row["name"]) for row in rows]


def fields(row):
    return {field: row[field] for field in FIELDS} | {"body": base64.b64decode(row["body_base64"])}


@pytest.mark.parametrize("row", names(VECTORS["sign"]))
def test_signing_gives_the_golden_mac(row):
    secret = base64.b64decode(row["secret_base64"])
    assert signing.sign(secret, timestamp=row["timestamp"], **fields(row)) == row["mac"]


@pytest.mark.parametrize("row", names(VECTORS["refuse_to_sign"]))
def test_a_field_of_two_lines_is_never_signed(row):
    with pytest.raises(ValueError, match="line"):
        signing.sign(b"secret", timestamp=row["timestamp"], **fields(row))


def test_the_headers_of_a_request_are_those_of_the_first_vector_that_checking_takes():
    row = next(row for row in VECTORS["verify"] if row["name"] == "right")
    signed = VECTORS["sign"][0]
    secret = base64.b64decode(signed["secret_base64"])
    made = signing.headers(secret, now_ms=int(signed["timestamp"]), **fields(signed))
    assert made == row["headers"]
