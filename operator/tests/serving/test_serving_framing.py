"""Requests that two readers could understand differently are understood by none."""

import json

import pytest
from serving_stage import get, stage

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: here\r\n\r\n"


def post(*headers, body=b"", version="HTTP/1.1"):
    return "\r\n".join([f"POST / {version}", "Host: here", *headers, "", ""]).encode() + body


@pytest.mark.parametrize(
    "sent",
    [
        post("Content-Length: 3", "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED),
        post("Transfer-Encoding: chunked", "Content-Length: 3", body=b"0\r\n\r\n" + SMUGGLED),
        post("Content-Length: 3", "Content-Length: 3", body=b"abc" + SMUGGLED),
        post("Content-Length: 3", "Content-Length: 30", body=b"abc" + SMUGGLED),
        post("Content-Length: 3, 3", body=b"abc" + SMUGGLED),
        post("Content-Length: +3", body=b"abc" + SMUGGLED),
        post("Content-Length: 0x3", body=b"abc" + SMUGGLED),
        post("Content-Length: 3 3", body=b"abc" + SMUGGLED),
        post("Content-Length : 3", body=b"abc" + SMUGGLED),
        post("Content-Length: 99999999999999999999", body=b"abc" + SMUGGLED),
        post("Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + SMUGGLED),
        post("Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + SMUGGLED),
        post("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n" + SMUGGLED),
        post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED),
        post("Transfer-Encoding: identity", body=SMUGGLED),
        post("Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED, version="HTTP/1.0"),
        post("Transfer-Encoding\x0b: chunked", body=b"0\r\n\r\n" + SMUGGLED),
        post("Transfer-Encoding: chunked", body=b"3;\nabc\r\n0\r\n\r\n" + SMUGGLED),
        post("Transfer-Encoding: chunked", body=b"-3\r\nabc\r\n0\r\n\r\n" + SMUGGLED),
        post("Transfer-Encoding: chunked", body=b"3\r\nabcd\r\n0\r\n\r\n" + SMUGGLED),
        post("X: 1\r\n Transfer-Encoding: chunked", "Content-Length: 0", body=SMUGGLED),
        post("X: a\r\n folded", "Content-Length: 0"),
        post("X: a\r\n\tfolded", "Content-Length: 0"),
        post("X: a\0b", "Content-Length: 0"),
        post("X: a\rb", "Content-Length: 0"),
        post("Host: there", "Content-Length: 0"),
        post("Content-Length: 0", version="HTTP/1.2"),
        post("Content-Length: 0", version="HTTP/0.9"),
        post("Content-Length: 0", version="HTTP/2.0"),
        post("Upgrade: h2c", "Connection: upgrade", "Content-Length: 3", body=b"abc" + SMUGGLED),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT here:443 HTTP/1.1\r\nHost: here\r\n\r\n" + SMUGGLED,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /a b HTTP/1.1\r\nHost: here\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: here\r\n\r\n",
        b"G\0T / HTTP/1.1\r\nHost: here\r\n\r\n",
    ],
)
async def test_what_could_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_served(sent):
    async with stage(head_s=1.0, body_s=1.0) as at:
        wire = await at.wire(sent)
        whole = await wire.ended()
        assert whole.startswith(b"HTTP/1.1 400 ")
        assert whole.count(b"HTTP/1.1 ") == 1
        assert json.loads(whole.partition(b"\r\n\r\n")[2])["error"]["code"] == "E_BAD_REQUEST"
        assert "/smuggled" not in at.app.asked


async def test_an_offer_to_upgrade_that_nobody_takes_is_answered_and_nothing_behind_it_is_read():
    async with stage() as at:
        wire = await at.wire(get("/", "Upgrade: h2c", "Connection: upgrade") + SMUGGLED)
        whole = await wire.ended()
        assert whole.startswith(b"HTTP/1.1 200 ")
        assert whole.count(b"HTTP/1.1 ") == 1
        assert at.app.asked == ["/"]


async def test_rubbish_behind_a_request_under_way_is_never_answered_in_its_place():
    async with stage() as at:
        wire = await at.wire(get("/hold") + b"rubbish\r\n\r\n")
        assert await wire.ended() == b""


async def test_honest_requests_of_every_framing_are_served_one_after_the_other():
    async with stage() as at:
        wire = await at.wire(
            post("Content-Length: 3", body=b"abc")
            + post("Transfer-Encoding: chunked", body=b"3\r\nabc\r\n4;x=y\r\nabcd\r\n0\r\n\r\n")
            + post("Transfer-Encoding: Chunked", body=b"0\r\n\r\n")
            + b"\r\n"
            + get("/last")
        )
        bodies = [json.loads((await wire.answer())[2]) for _ in range(4)]
        assert [each["body"] for each in bodies] == [3, 7, 0, 0]
        assert bodies[-1]["path"] == "/last"
