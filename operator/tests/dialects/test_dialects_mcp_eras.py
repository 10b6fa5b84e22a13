"""Which revision a request speaks, and that no header says another thing than its body."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion.dialects import jsonrpc, mcp_eras

VERSION, CAPABILITIES = "io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities"


def told(headers: dict[str, str], method: str = "tools/list", **params: Any) -> bool | int:
    """Modern or not; or the code of the refusal."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    try:
        message = jsonrpc.read(body)
        return mcp_eras.is_modern(headers, message, mcp_eras.params(message))
    except jsonrpc.RpcError as error:
        return error.code


def meta(version: str = "2026-07-28", **more: Any) -> dict[str, Any]:
    return {VERSION: version, CAPABILITIES: {}, **more}


def modern(method: str = "tools/list", **more: str) -> dict[str, str]:
    return {"mcp-protocol-version": "2026-07-28", "mcp-method": method, **more}


def test_a_request_that_says_nothing_of_a_revision_is_of_the_older_era():
    assert told({}) is False
    assert told({}, "initialize", protocolVersion="2025-11-25") is False


@pytest.mark.parametrize("version", ["2025-11-25", "2025-06-18"])
def test_a_header_of_the_older_era_is_believed(version: str):
    assert told({"mcp-protocol-version": version}) is False


def test_a_modern_request_says_so_in_header_and_body():
    assert told(modern(), _meta=meta()) is True
    assert told(modern("tools/call", **{"mcp-name": "echo"}), "tools/call", name="echo", _meta=meta()) is True


@pytest.mark.parametrize("version", ["2024-11-05", "2027-01-01", "x", ""])
def test_a_revision_that_is_not_spoken_here_is_refused_with_those_that_are(version: str):
    assert told({"mcp-protocol-version": version}) == -32022
    assert told({"mcp-protocol-version": version}, _meta=meta(version)) == -32022


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"mcp-method": "tools/list"},
        {"mcp-protocol-version": "2025-11-25", "mcp-method": "tools/list"},
        {"mcp-protocol-version": "2026-07-28"},
        modern("tools/call"),
        modern("tools/list, tools/list"),
    ],
)
def test_headers_that_are_missing_or_say_another_thing_than_a_modern_body_are_refused(headers: dict[str, str]):
    assert told(headers, _meta=meta()) == -32020


@pytest.mark.parametrize("said", [{}, {VERSION: "2026-07-28"}, {CAPABILITIES: {}}])
def test_a_modern_body_says_its_revision_and_what_its_client_can(said: dict[str, Any]):
    assert told(modern(), _meta=said) == -32602


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_the_name_in_the_header_is_the_name_in_the_body_or_the_call_is_refused(body: str, header: str):
    wrapped = f"=?base64?{base64.b64encode(header.encode()).decode()}?="
    verdict = told(modern("tools/call", **{"mcp-name": wrapped}), "tools/call", name=body, _meta=meta())
    assert verdict is True if header == body else verdict == -32020


@pytest.mark.parametrize("header", ["=?base64?%%?=", "=?base64?/w==?=", "=?base64?ZWNobw?="])
def test_a_name_that_is_no_base64_matches_nothing(header: str):
    assert told(modern("tools/call", **{"mcp-name": header}), "tools/call", name="echo", _meta=meta()) == -32020


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b"[" * 100_000, -32700),
        (b"[]", -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":3}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":[]}}', -32602),
    ],
)
def test_what_is_no_message_is_told_so_by_the_protocols_own_code(body: bytes, code: int):
    with pytest.raises(jsonrpc.RpcError) as refused:
        mcp_eras.params(jsonrpc.read(body))
    assert refused.value.code == code


@given(st.binary(max_size=60))
def test_no_body_does_anything_but_be_read_or_be_refused(body: bytes):
    jsonrpc.is_response(body)
    try:
        mcp_eras.params(jsonrpc.read(body))
    except jsonrpc.RpcError as refused:
        json.loads(jsonrpc.failure(refused, refused.id))
