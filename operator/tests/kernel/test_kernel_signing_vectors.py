"""The golden vectors of HMAC version 1, as the kernel decides them: whole requests, keys by tenant, nonces in the store."""

import base64
import json
import time
from pathlib import Path

import pytest

from aion.api import errors
from aion.kernel.auth import Asked, Signed
from aion.kernel.memorystore import MemoryStore
from aion.kernel.tenantkeys import FixedKeys

VECTORS = json.loads((Path(__file__).resolve().parents[3] / "sdk/contract/hmac.json").read_text())
KEYS = FixedKeys(
    {
        tenant: {key_id: base64.b64decode(secret) for key_id, secret in ring.items()}
        for tenant, ring in VECTORS["keys_base64"].items()
    }
)


def request(row):
    path, _, query = row["target"].partition("?")
    headers = [(name.encode(), value.encode("latin-1")) for name, value in row["headers"].items()]
    scope = {"method": row["method"], "raw_path": path.encode(), "query_string": query.encode(), "headers": headers}
    return Asked.of(scope, base64.b64decode(row["body_base64"]))


@pytest.mark.parametrize("row", [pytest.param(row, id=row["name"]) for row in VECTORS["verify"]])
async def test_the_kernel_decides_as_the_vector_says(row):
    store = MemoryStore(time.monotonic)
    for tenant, used in (("tenant-a", row.get("used", ())), ("tenant-b", row.get("used_by_others", ()))):
        for nonce in used:
            await store.claim_nonce(f"{tenant}:{nonce}", ttl_ms=60_000)
    signed = Signed(KEYS, store, now_ms=lambda: row["now_ms"])
    if row["expect"] == "ok":
        caller = await signed.caller(request(row), path="")
        assert (caller.tenant, caller.agent_id) == (
            row["headers"]["X-Tenant-Id"],
            row["headers"].get("X-Aion-Agent-Id", ""),
        )
        with pytest.raises(errors.Replay):
            await signed.caller(request(row), path="")
        return
    with pytest.raises(errors.of(row["expect"])):
        await signed.caller(request(row), path="")
