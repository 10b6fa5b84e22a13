"""What is refused when an agent is made, before anything is sent."""

import pytest
from sdk_server import ME

from aion_sdk import Agent, AsyncAgent
from aion_sdk.address import Address, parse


@pytest.mark.parametrize("kind", [Agent, AsyncAgent])
@pytest.mark.parametrize(
    ("agent_id", "url", "more"),
    [
        ("researcher", "unix:///x", {}),
        ("agent://tenant-a", "unix:///x", {}),
        ("agent://tenant-a/a/b", "unix:///x", {}),
        ("agent://täne/a", "unix:///x", {}),
        (ME + "\r\nx: y", "unix:///x", {}),
        (ME + "\n", "unix:///x", {}),
        (ME, "unix:///x", {"tenant": "tenant-b"}),
        (ME, "unix:///x", {"key_id": "k\r\nx: y"}),
        (ME, "unix:///x", {"timeout": 0}),
        (ME, "unix:///x", {"timeout": float("nan")}),
        (ME, "unix://x", {}),
        (ME, "unix:/x", {}),
        (ME, "unix:///" + "x" * 120, {}),
        (ME, "localhost:8010", {}),
        (ME, "ftp://x", {}),
        (ME, "http://", {}),
        (ME, "http://u:p@x", {}),
        (ME, "http://x:0", {}),
        (ME, "http://x:99999", {}),
        (ME, "http://x?y", {}),
        (ME, "http://[::1", {}),
        (ME, "http://x/a b", {}),
        (ME, "http://x/\r\nevil: 1", {}),
        (ME, "http://münchen.example", {}),
    ],
)
def test_a_wrong_address_or_id_is_refused_at_once(kind: type, agent_id: str, url: str, more: dict):
    with pytest.raises(ValueError, match=r"expected|tenant|no place|kernel_url|at most"):
        kind(agent_id, url, **more)


@pytest.mark.parametrize(
    ("url", "address", "host"),
    [
        ("unix:///run/aion/gw.sock", Address(path="/run/aion/gw.sock"), "gateway"),
        ("unix:///run/a?b#c%20d", Address(path="/run/a?b#c%20d"), "gateway"),
        ("http://localhost:8010", Address(host="localhost", port=8010), "localhost:8010"),
        ("http://localhost", Address(host="localhost", port=80), "localhost"),
        ("https://k.example/aion/", Address(host="k.example", port=443, tls=True, prefix="/aion"), "k.example"),
        ("http://[::1]:8010/", Address(host="::1", port=8010), "[::1]:8010"),
    ],
)
def test_an_address_is_read_and_written_back(url: str, address: Address, host: str):
    assert parse(url) == address
    assert address.host_header == host
    assert parse(str(address)) == address
