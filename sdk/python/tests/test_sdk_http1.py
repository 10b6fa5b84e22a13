"""The parser: every valid answer in every way it may arrive, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion_sdk.http1 import MAX_BODY, Answer, BrokenAnswer

pieces = st.lists(st.binary(min_size=1, max_size=20), max_size=6)


def chunked(parts: list[bytes]) -> bytes:
    return b"".join(b"%X;ext=1\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\n"


def feed(raw: bytes, cuts: list[int]) -> Answer:
    answer, begin = Answer(), 0
    for cut in [*sorted({cut % (len(raw) + 1) for cut in cuts}), len(raw)]:
        if cut > begin:
            answer.feed(raw[begin:cut])
            begin = cut
    return answer


@given(pieces, st.sampled_from(["sized", "chunked", "close"]), st.lists(st.integers(0, 10_000), max_size=40), st.data())
def test_an_answer_is_the_same_however_it_is_cut(parts: list[bytes], frame: str, cuts: list[int], data: st.DataObject):
    body = b"".join(parts)
    interim = data.draw(st.sampled_from([b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"]))
    heads = {
        "sized": b"Content-Length: %d\r\n\r\n%s" % (len(body), body),
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n" + chunked(parts),
        "close": b"X: y\r\n\r\n" + body,
    }
    answer = feed(interim + b"HTTP/1.1 200 OK\r\n" + heads[frame], cuts)
    if frame == "close":
        assert not answer.complete
        answer.feed(b"")
    assert (answer.complete, answer.status, answer.body) == (True, 200, body)
    assert answer.keep_alive is (frame != "close")


@given(pieces.filter(bool), st.sampled_from(["sized", "chunked"]), st.integers(1, 1000))
def test_an_answer_that_is_cut_short_is_never_taken_for_a_whole_one(parts: list[bytes], frame: str, missing: int):
    body = b"".join(parts)
    heads = {
        "sized": b"Content-Length: %d\r\n\r\n%s" % (len(body), body),
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n" + chunked(parts),
    }
    raw = b"HTTP/1.1 200 OK\r\n" + heads[frame]
    answer = feed(raw[: max(1, len(raw) - missing)], [])
    assert not answer.complete
    with pytest.raises(BrokenAnswer):
        answer.feed(b"")


@given(st.binary(max_size=200))
def test_rubbish_is_refused_or_waited_for_and_nothing_else(raw: bytes):
    try:
        answer = feed(raw, [])
    except BrokenAnswer:
        return
    assert not answer.complete or answer.status


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1),
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        *(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk
            for chunk in (b"-1\r\n", b"0x1\r\n", b"1_0\r\n", b"\r\n", b"f" * 17 + b"\r\n", b"1\r\nab\r\n", b"5" * 5000)
        ),
    ],
)
def test_an_answer_whose_end_is_in_doubt_is_refused(head: bytes):
    with pytest.raises(BrokenAnswer):
        feed(head, [])


def test_bytes_after_the_answer_end_the_connections_life():
    answer = feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", [])
    assert (answer.complete, answer.body, answer.keep_alive) == (True, b"a", False)


def test_an_answer_without_content_has_an_end():
    answer = feed(b"HTTP/1.1 204 No Content\r\n\r\n", [])
    assert (answer.complete, answer.body, answer.keep_alive) == (True, b"", True)
