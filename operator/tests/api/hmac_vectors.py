"""Makes sdk/contract/hmac.json: `python operator/tests/api/hmac_vectors.py > sdk/contract/hmac.json`.

It stands apart from `aion.api.signing`, which must pass what is made here: it computes each MAC from the words of the
contract by itself, and imports nothing of ours. Deterministic: no clock, no randomness; a test compares the file.
"""

import base64
import hashlib
import hmac
import json
from typing import Any

NOW = 1_770_000_000_000  # 2026-02-02T02:40:00Z
NONCE = "n-000000000000001"
KEYS = {"tenant-a": {"default": b"s3cret", "next": bytes(range(32))}, "tenant-b": {"default": b"another"}}
AGENT = "agent://tenant-a/researcher"
TARGET = "/v1/syscall/tool.invoke"
BODY = b'{"params":{"query":"AION-OS Kernel","tool":"web_search"}}'

Row = dict[str, Any]


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _mac(secret: bytes, *fields: str, body: bytes) -> str:
    text = "\n".join(["AION-HMAC-SHA256", *fields, hashlib.sha256(body).hexdigest()])
    return hmac.new(secret, text.encode("utf-8"), hashlib.sha256).hexdigest()


def _signed(name: str, **other: Any) -> Row:
    """What a signer is given, and the MAC that it must make."""
    given = {
        "tenant": "tenant-a", "agent_id": AGENT, "key_id": "default", "method": "POST", "target": TARGET,
        "timestamp": str(NOW), "nonce": NONCE, "body": BODY, **other,
    }  # fmt: skip
    secret = given.pop("secret", None) or KEYS[given["tenant"]][given["key_id"]]
    order = ("method", "target", "tenant", "agent_id", "key_id", "timestamp", "nonce")
    mac = _mac(secret, *(given[field] for field in order), body=given["body"])
    row = {field: given[field] for field in ("tenant", "agent_id", "key_id", "method", "target", "timestamp", "nonce")}
    return {"name": name, "secret_base64": _b64(secret), **row, "body_base64": _b64(given["body"]), "mac": mac}


def sign_rows() -> list[Row]:
    return [
        _signed("a syscall of an agent"),
        _signed("no agent: the tenant as a whole", agent_id="", method="GET", target="/v1/agents", body=b""),
        _signed("a query, signed as it is sent", method="GET", target="/v1/events/stream?topics=a,b&since=5", body=b""),
        _signed("a query's order counts", method="GET", target="/v1/events/stream?since=5&topics=a,b", body=b""),
        _signed("an empty query is not no query", method="GET", target="/v1/agents?", body=b""),
        _signed("percent-encoding stays as it is sent", target="/v1/schedule/tasks/a%2Fb%20c", method="GET", body=b""),
        _signed("a body that is not text", body=bytes(range(256))),
        _signed("a body beyond ASCII", body='{"params":{"query":"größer 東京"}}'.encode()),
        _signed("a body with line breaks", body=b'{\n  "params": {}\r\n}\n'),
        _signed("an empty body", body=b""),
        _signed("a secret of any bytes", key_id="next"),
        _signed("another tenant", tenant="tenant-b", agent_id="agent://tenant-b/researcher"),
        _signed("the shortest nonce", nonce="0123456789abcdef"),
        _signed("the longest nonce", nonce="A_-z" * 16),
        _signed("another method", method="DELETE", body=b""),
    ]


def refuse_rows() -> list[Row]:
    """What no signer may sign: a field that would be two lines."""
    said = {
        "a line break in the target": {"target": "/v1/agents\nX: y"},
        "a carriage return in the target": {"target": "/v1/agents\rX"},
        "a line break in the tenant": {"tenant": "tenant-a\ntenant-b"},
        "a line break in the agent id": {"agent_id": "agent://tenant-a/x\n"},
        "a line break in the nonce": {"nonce": "0123456789abcdef\n"},
        "a line break in the method": {"method": "GET\nPOST"},
    }
    base = {field: value for field, value in _signed("").items() if field not in ("mac", "name")}
    return [{"name": name, **base, **other} for name, other in said.items()]


def _request(name: str, expect: str, **change: Any) -> Row:
    """What a checker is given. `signed_as` is what the MAC was made over; the rest is what arrives."""
    made = _signed("", **change.pop("signed_as", {}))
    headers = {
        "X-Tenant-Id": made["tenant"],
        "X-Aion-Key-Id": made["key_id"],
        "X-Aion-Timestamp": made["timestamp"],
        "X-Aion-Nonce": made["nonce"],
        "X-Sig-HMAC": f"v1={made['mac']}",
    }
    headers |= {"X-Aion-Agent-Id": made["agent_id"]} if made["agent_id"] else {}
    headers |= change.pop("headers", {})
    for absent in change.pop("without", ()):
        del headers[absent]
    row = {"method": made["method"], "target": made["target"], "body_base64": made["body_base64"], "now_ms": NOW}
    return {"name": name, "expect": expect, **row, **change, "headers": headers}


def verify_rows() -> list[Row]:
    mac = _signed("")["mac"]
    other = _signed("", key_id="next")["mac"]
    late, early = NOW + 30_000, NOW - 30_000
    return [
        _request("right", "ok"),
        _request("right, for the tenant as a whole", "ok", signed_as={"agent_id": ""}),
        _request("right, by the other key of a rotation", "ok", signed_as={"key_id": "next"}),
        _request("one of several MACs is right", "ok", headers={"X-Sig-HMAC": f"v1={other}, v1={mac}"}),
        _request("30 s old, the last moment", "ok", now_ms=late),
        _request("30 s ahead, the last moment", "ok", now_ms=early),
        _request("30.001 s old", "E_CLOCK", now_ms=late + 1),
        _request("30.001 s ahead", "E_CLOCK", now_ms=early - 1),
        _request("a time in seconds", "E_CLOCK", signed_as={"timestamp": str(NOW // 1000)}),
        _request("the same nonce again", "E_REPLAY", used=[NONCE]),
        _request("the nonce of another tenant is not used", "ok", used_by_others=[NONCE]),
        _request("an old request is refused for its age before its nonce", "E_CLOCK", used=[NONCE], now_ms=late + 1),
        _request("another body", "E_SIGNATURE", body_base64=_b64(BODY + b" ")),
        _request("another path", "E_SIGNATURE", target="/v1/syscall/net.fetch"),
        _request("another query", "E_SIGNATURE", target=TARGET + "?x=1"),
        _request("another method", "E_SIGNATURE", method="PUT"),
        _request("a method in small letters", "E_SIGNATURE", method="post"),
        _request("another agent of the tenant", "E_SIGNATURE", headers={"X-Aion-Agent-Id": "agent://tenant-a/writer"}),
        _request("an agent added", "E_SIGNATURE", signed_as={"agent_id": ""}, headers={"X-Aion-Agent-Id": AGENT}),
        _request("the agent taken away", "E_SIGNATURE", without=["X-Aion-Agent-Id"]),
        _request("an agent of another tenant", "E_SIGNATURE", signed_as={"agent_id": "agent://tenant-b/researcher"}),
        _request("not an agent id", "E_SIGNATURE", signed_as={"agent_id": "researcher"}),
        _request(
            "another tenant's name", "E_SIGNATURE", signed_as={"agent_id": ""}, headers={"X-Tenant-Id": "tenant-b"}
        ),
        _request(
            "a tenant that is not there", "E_SIGNATURE", signed_as={"agent_id": ""}, headers={"X-Tenant-Id": "nobody"}
        ),
        _request("a key that is not there", "E_SIGNATURE", headers={"X-Aion-Key-Id": "older"}),
        _request(
            "a key that is not there, guessed to be zeros",
            "E_SIGNATURE",
            signed_as={"key_id": "older", "secret": b"\0" * 32},
        ),
        _request(
            "a key that is not there, guessed to be empty",
            "E_SIGNATURE",
            signed_as={"key_id": "older", "secret": b"\0"},
        ),
        _request("the key's name exchanged", "E_SIGNATURE", headers={"X-Aion-Key-Id": "next"}),
        _request("another nonce", "E_SIGNATURE", headers={"X-Aion-Nonce": "n-000000000000002"}),
        _request("another time", "E_SIGNATURE", headers={"X-Aion-Timestamp": str(NOW + 1)}),
        _request("a MAC of zeros", "E_SIGNATURE", headers={"X-Sig-HMAC": "v1=" + "0" * 64}),
        _request("a MAC cut short", "E_SIGNATURE", headers={"X-Sig-HMAC": f"v1={mac[:-1]}"}),
        _request("a MAC in capitals", "E_SIGNATURE", headers={"X-Sig-HMAC": f"v1={mac.upper()}"}),
        _request("a MAC without version", "E_SIGNATURE", headers={"X-Sig-HMAC": mac}),
        _request("a MAC of version 2", "E_SIGNATURE", headers={"X-Sig-HMAC": f"v2={mac}"}),
        _request("more MACs than four", "E_SIGNATURE", headers={"X-Sig-HMAC": ",".join([f"v1={mac}"] * 5)}),
        _request("no MAC", "E_SIGNATURE", without=["X-Sig-HMAC"]),
        _request("no tenant", "E_SIGNATURE", without=["X-Tenant-Id"]),
        _request("no key", "E_SIGNATURE", without=["X-Aion-Key-Id"]),
        _request("no time", "E_SIGNATURE", without=["X-Aion-Timestamp"]),
        _request("no nonce", "E_SIGNATURE", without=["X-Aion-Nonce"]),
        _request("a nonce too short", "E_SIGNATURE", signed_as={"nonce": "0123456789abcde"}),
        _request("a nonce too long", "E_SIGNATURE", signed_as={"nonce": "a" * 65}),
        _request("a nonce of strange letters", "E_SIGNATURE", signed_as={"nonce": "0123456789abcde/"}),
        _request("a time with a sign", "E_SIGNATURE", signed_as={"timestamp": f"+{NOW}"}),
        _request("a time with leading zeros", "E_SIGNATURE", signed_as={"timestamp": f"0{NOW}"}),
    ]


def document() -> Row:
    return {
        "about": "Golden vectors of HMAC version 1 (AION-HMAC-SHA256). Every implementation runs the lists that concern it.",
        "string_to_sign": ["AION-HMAC-SHA256", "METHOD", "target: path and query as sent", "tenant", "agent id, or empty",
                           "key id", "timestamp: milliseconds", "nonce", "hex sha256 of the raw body"],
        "window_ms": 30_000,
        "keys_base64": {tenant: {key: _b64(secret) for key, secret in ring.items()} for tenant, ring in KEYS.items()},
        "sign": sign_rows(),
        "refuse_to_sign": refuse_rows(),
        "verify": verify_rows(),
    }  # fmt: skip


def text() -> str:
    return json.dumps(document(), indent=2, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    print(text(), end="")
