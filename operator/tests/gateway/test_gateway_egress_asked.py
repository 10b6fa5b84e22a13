"""The head of a proxy's request: read so that it has one meaning, or refused; it never breaks."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from aion.api import errors
from aion.gateway.proxy import answering, asked, framing, hello


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def get(*lines: str, target: str = "http://a.example/") -> bytes:
    return head(f"GET {target} HTTP/1.1", *(lines or ("Host: a.example",)))


@pytest.mark.parametrize(
    ("target", "host", "port"),
    [
        ("a.example:443", "a.example", 443),
        ("A.Example.:8443", "a.example", 8443),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("[::ffff:10.0.0.1]:443", "::ffff:10.0.0.1", 443),
        ("xn--bcher-kva.example:65535", "xn--bcher-kva.example", 65535),
        ("my_service.ns.svc:80", "my_service.ns.svc", 80),
    ],
)
@pytest.mark.parametrize("more", [(), ("Host: {}",), ("Proxy-Authorization: Basic c2VjcmV0", "User-Agent: x")])
def test_a_connect_names_a_host_and_a_port(target: str, host: str, port: int, more: tuple[str, ...]):
    read = asked.parse(head(f"CONNECT {target} HTTP/1.1", *(line.format(target) for line in more)))
    assert (read.connect, read.host, read.port, read.length) == (True, host, port, 0)


def test_a_connects_host_header_may_leave_out_the_port():
    assert asked.parse(head("CONNECT a.example:443 HTTP/1.1", "Host: a.example")).port == 443


@pytest.mark.parametrize(
    ("target", "authority", "origin"),
    [
        ("http://a.example", "a.example:80", b"/"),
        ("HTTP://A.example:80/x?y=z", "a.example:80", b"/x?y=z"),
        ("http://a.example:8080?q", "a.example:8080", b"/?q"),
        ("http://[::1]:81/", "[::1]:81", b"/"),
        ("http://a.example//b/../c", "a.example:80", b"//b/../c"),
    ],
)
def test_an_absolute_form_goes_on_in_origin_form_to_its_own_host(target: str, authority: str, origin: bytes):
    read = asked.parse(get(f"Host: {authority}", target=target))
    assert (read.authority, read.target, read.connect) == (authority, origin, False)
    sent = asked.forwarded(read)
    assert sent.startswith(b"GET " + origin + b" HTTP/1.1\r\nHost: " + authority.removesuffix(":80").encode() + b"\r\n")


def test_what_belongs_to_the_connection_is_not_passed_on_and_everything_else_is():
    sent = asked.forwarded(
        asked.parse(
            head(
                "POST http://a.example/ HTTP/1.1",
                "Host: a.example",
                "Connection: keep-alive, X-Mine",
                "X-Mine: 1",
                "Keep-Alive: timeout=5",
                "Proxy-Authorization: Basic c2VjcmV0",
                "Proxy-Connection: keep-alive",
                "TE: trailers",
                "Upgrade: h2c",
                "Authorization: Bearer theirs",
                "Accept:  text/html\t",
                "Cookie: a=1",
                "Cookie: b=2",
                "Content-Length: 3",
            )
        )
    )
    lines = sent.decode().split("\r\n")
    assert lines == [
        "POST / HTTP/1.1", "Host: a.example", "Authorization: Bearer theirs", "Accept: text/html", "Cookie: a=1", "Cookie: b=2",
        "Content-Length: 3", "Via: 1.1 aion", "Connection: close", "", "",
    ]  # fmt: skip


REFUSED = [
    (head("CONNECT a.example HTTP/1.1"), "host:port"),
    (head("CONNECT a.example:0 HTTP/1.1"), "host:port"),
    (head("CONNECT a.example:65536 HTTP/1.1"), "host:port"),
    (head("CONNECT a.example:0443 HTTP/1.1"), "host:port"),
    (head("CONNECT a.example:+443 HTTP/1.1"), "host:port"),
    (head("CONNECT a.example:443:80 HTTP/1.1"), "host:port"),
    (head("CONNECT a.example:443/ HTTP/1.1"), "host:port"),
    (head("CONNECT evil@a.example:443 HTTP/1.1"), "host:port"),
    (head("CONNECT a.example%00.evil:443 HTTP/1.1"), "host:port"),
    (head("CONNECT a..example:443 HTTP/1.1"), "host:port"),
    (head("CONNECT -a.example:443 HTTP/1.1"), "host:port"),
    (head("CONNECT [fe80::1%eth0]:443 HTTP/1.1"), "host:port"),
    (head("CONNECT :443 HTTP/1.1"), "host:port"),
    (head("CONNECT b\xfccher.example:443 HTTP/1.1"), "first line"),
    (head("CONNECT  a.example:443 HTTP/1.1"), "first line"),
    (head("CONNECT a.example:443 HTTP/2.0"), "first line"),
    (head("CONNECT a.example:443"), "first line"),
    (head("", "CONNECT a.example:443 HTTP/1.1"), "first line"),
    (head("CONNECT a.example:443 HTTP/1.1", "Host: b.example:443"), "Host"),
    (head("CONNECT a.example:443 HTTP/1.1", "Host: a.example:80"), "Host"),
    (head("CONNECT a.example:443 HTTP/1.1", "Content-Length: 4"), "no body"),
    (head("CONNECT a.example:443 HTTP/1.1", "Transfer-Encoding: chunked"), "no body"),
    (get(target="/index.html"), "this is a proxy"),
    (get(target="*"), "this is a proxy"),
    (get(target="a.example/"), "this is a proxy"),
    (get(target="https://a.example/"), "CONNECT"),
    (get(target="ftp://a.example/"), "http://"),
    (get(target="http://a.example/#f"), "this is a proxy"),
    (get(target="http:///x"), "host:port"),
    (get(target="http://me:pw@a.example/"), "host:port"),
    (get(target="http://a.example:/"), "host:port"),
    (head("TRACE http://a.example/ HTTP/1.1", "Host: a.example"), "TRACE"),
    (get("Accept: */*"), "Host"),
    (get("Host: b.example"), "Host"),
    (get("Host: a.example:81"), "Host"),
    (get("Host: a.example", "Host: a.example"), "more than one Host"),
    (get("Host: a.example", "host: b.example"), "more than one Host"),
    (get("Host: a.example", "Content-Length: 3", "Transfer-Encoding: chunked"), "said twice"),
    (get("Host: a.example", "Content-Length: 3", "Content-Length: 3"), "said twice"),
    (get("Host: a.example", "Transfer-Encoding: chunked", "Transfer-Encoding: identity"), "said twice"),
    (get("Host: a.example", "Transfer-Encoding: gzip, chunked"), "Transfer-Encoding"),
    (get("Host: a.example", "Transfer-Encoding: xchunked"), "Transfer-Encoding"),
    (head("POST http://a.example/ HTTP/1.0", "Transfer-Encoding: chunked"), "Transfer-Encoding"),
    (get("Host: a.example", "Content-Length: 3, 3"), "Content-Length"),
    (get("Host: a.example", "Content-Length: +3"), "Content-Length"),
    (get("Host: a.example", "Content-Length: -3"), "Content-Length"),
    (get("Host: a.example", "Content-Length: 0x3"), "Content-Length"),
    (get("Host: a.example", "Content-Length: \xb2"), "Content-Length"),
    (get("Host: a.example", "Transfer-Encoding : chunked"), "characters"),
    (get("Host: a.example", "X: a", " folded: b"), "folded"),
    (get("Host: a.example", "\tfolded"), "folded"),
    (get("Host: a.example", "no colon"), "characters"),
    (get("Host: a.example", "X: a\nTransfer-Encoding: chunked"), "characters"),
    (get("Host: a.example", "X: a\rb"), "characters"),
    (get("Host: a.example", "X: a\x00b"), "characters"),
    (get("Host: a.example", ": empty"), "characters"),
    (get("Host: a.example", "Connection: close, content-length", "Content-Length: 3"), "Connection names"),
    (get("Host: a.example", "Connection: host"), "Connection names"),
    (b"GET http://a.example/ HTTP/1.1\nHost: a.example\n\n", "blank line"),
    (b"GET http://a.example/ HTTP/1.1\nHost: a.example\r\n\r\n", "first line"),
    (get("Host: a.example", *(f"x-{n}: 1" for n in range(128))), "headers"),
]


@pytest.mark.parametrize(("raw", "says"), REFUSED, ids=range(len(REFUSED)))
def test_what_two_readers_could_understand_differently_is_refused(raw: bytes, says: str):
    with pytest.raises(errors.BadRequest) as refused:
        asked.parse(raw)
    assert says in refused.value.message


def test_a_refusal_repeats_no_header():
    for raw, _ in REFUSED:
        with pytest.raises(errors.BadRequest) as refused:
            asked.parse(raw.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer hunter2\r\n\r\n"))
        assert "hunter2" not in str(refused.value)


def test_a_head_ends_at_its_blank_line_and_not_beyond_its_size():
    assert asked.end_of_head(b"GET") == -1
    assert asked.end_of_head(b"a\r\n\r\nrest") == 5
    with pytest.raises(errors.BadRequest):
        asked.end_of_head(b"a" * (asked.MAX_HEAD_BYTES + 1))


PIECES = some.sampled_from(
    [b"CONNECT ", b"GET ", b"http://", b"https://", b"a.example", b":443", b" HTTP/1.1", b"\r\n", b"\n", b"\r", b"Host: ", b"[::1]",
     b"Content-Length: ", b"Transfer-Encoding: chunked", b"Connection: host", b"3", b"\x00", b" ", b"\t", b":", b"@", b"%", b"\xff", b"\r\n\r\n"]
)  # fmt: skip


@given(some.lists(PIECES | some.binary(max_size=8), max_size=24).map(b"".join))
@example(b"\r\n\r\n")
def test_whatever_comes_is_a_request_of_one_meaning_or_a_bad_request(raw: bytes):
    try:
        end = asked.end_of_head(raw)
        read = asked.parse(raw[:end] if end >= 0 else raw)
    except errors.BadRequest:
        return
    assert read.host
    assert 1 <= read.port <= 65535
    if not read.connect:
        sent = asked.forwarded(read)
        again = asked.parse(sent.replace(b" /", f" http://{read.authority}/".encode(), 1))
        assert (again.host, again.port, again.length, again.target) == (read.host, read.port, read.length, read.target)


def greeting(name: bytes | None = b"a.example", *, extensions: bytes = b"", record: int = 1 << 14) -> bytes:
    """A ClientHello, split over TLS records of at most so many bytes."""
    entry = b"\x00" + len(name).to_bytes(2, "big") + name if name is not None else b""
    listed = len(entry).to_bytes(2, "big") + entry
    sni = b"\x00\x00" + len(listed).to_bytes(2, "big") + listed if name is not None else b""
    added = sni + b"\x00\x2b\x00\x03\x02\x03\x04" + extensions
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00" + len(added).to_bytes(2, "big") + added
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    parts = [message[at : at + record] for at in range(0, len(message), record)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)


@pytest.mark.parametrize("record", [1, 7, 100, 1 << 14])
def test_a_greeting_is_read_when_it_is_whole_however_it_is_cut(record: int):
    whole = greeting(b"A.Example.", record=record)
    for end in range(len(whole)):
        assert hello.read(whole[:end]) is None
    assert hello.read(whole) == hello.Hello("a.example", hidden=False)
    assert hello.read(whole + b"\x17\x03\x03\x00\x01x") == hello.Hello("a.example", hidden=False)


def test_the_greeting_that_the_standard_librarys_tls_sends_is_read():
    import ssl

    inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(inside, outside, server_hostname="api.example.org")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    assert hello.read(outside.read()) == hello.Hello("api.example.org", hidden=False)


def test_a_hidden_name_is_told_apart_and_none_is_empty():
    assert hello.read(greeting(extensions=b"\xfe\x0d\x00\x01\x00")) == hello.Hello("a.example", hidden=True)
    assert hello.read(greeting(None)) == hello.Hello("", hidden=False)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
        b"\x16\x03\x01\x10\x00\x01\xff\xff\xff",
        b"\x15\x03\x01\x00\x02\x02\x28",
        greeting(extensions=b"\x00\x00\x00\x0e\x00\x0c\x00\x00\x09b.example"),
        greeting(extensions=b"\x00\x2b\x00\x00"),
        greeting(extensions=b"\x99"),
        greeting(b""),
        greeting(b"b\xfccher.example"),
    ],
)
def test_what_is_no_greeting_of_one_name_is_not_tls(raw: bytes):
    with pytest.raises(hello.NotTls):
        hello.read(raw)


@given(some.binary(max_size=300) | some.binary(max_size=200).map(lambda tail: greeting()[:60] + tail))
def test_whatever_a_client_greets_by_is_read_or_not_tls(raw: bytes):
    try:
        said = hello.read(raw)
    except hello.NotTls:
        return
    assert said is None or isinstance(said, hello.Hello)


@given(some.integers(0, len(greeting()) - 1), some.integers(0, 255))
def test_a_greeting_with_one_byte_changed_is_read_or_not_tls_and_its_name_is_what_is_in_it(at: int, byte: int):
    raw = bytearray(greeting())
    raw[at] = byte
    try:
        said = hello.read(raw)
    except hello.NotTls:
        return
    assert said is None or said.name.encode() in bytes(raw).lower() or not said.name


def cut(raw: bytes, at: list[int]) -> list[bytes]:
    edges = sorted({0, len(raw), *(n % (len(raw) + 1) for n in at)})
    return [raw[a:b] for a, b in itertools.pairwise(edges)]


@given(
    some.lists(some.binary(min_size=1, max_size=40), max_size=6),
    some.lists(some.integers(0, 1000), max_size=12),
    some.binary(max_size=20),
)
def test_a_chunked_body_is_the_same_body_however_it_is_cut_and_nothing_behind_it_passes(
    chunks: list[bytes], at: list[int], behind: bytes
):
    raw = b"".join(b"%X\r\n%b\r\n" % (len(each), each) for each in chunks) + b"0\r\n\r\n" + behind
    body = framing.ChunkedBody()
    sent = b"".join(body.take(piece) for piece in cut(raw, at))
    body.ended()
    plain, rest = b"", sent
    while (size := int(rest.split(b"\r\n", 1)[0], 16)) > 0:
        rest = rest.split(b"\r\n", 1)[1]
        plain, rest = plain + rest[:size], rest[size + 2 :]
    assert (plain, rest) == (b"".join(chunks), b"0\r\n\r\n")


@pytest.mark.parametrize(
    "raw",
    [
        b"3;x=y\r\nabc\r\n",
        b"g\r\n",
        b"3\nabc\r\n",
        b"3\r\nabcd\r\n",
        b"0\r\nX: 1\r\n\r\n",
        b" 3\r\n",
        b"-1\r\n",
        b"0x3\r\n",
        b"123456789\r\n",
    ],
)
def test_a_chunk_that_two_readers_could_cut_differently_is_refused(raw: bytes):
    with pytest.raises(errors.BadRequest):
        framing.ChunkedBody().take(raw)


@given(
    some.lists(
        some.binary(max_size=12) | some.sampled_from([b"3\r\n", b"abc", b"\r\n", b"0\r\n\r\n", b"\n"]), max_size=10
    )
)
def test_whatever_a_client_sends_for_chunks_is_passed_on_or_a_bad_request(pieces: list[bytes]):
    body = framing.ChunkedBody()
    try:
        for piece in pieces:
            body.take(piece)
        body.ended()
    except errors.BadRequest:
        return


def test_a_body_of_a_length_passes_so_many_bytes_and_no_second_request():
    body = framing.LengthBody(5)
    assert [body.take(b"abc"), body.take(b"deGET http://b/"), body.take(b"x")] == [b"abc", b"de", b""]
    body.ended()
    with pytest.raises(errors.BadRequest):
        framing.LengthBody(5).ended()


def test_an_answer_goes_back_without_what_belonged_to_the_other_connection_interim_heads_first():
    answer = answering.AnswerHead("a.example")
    raw = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nConnection: keep-alive, x-mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n"
        b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok"
    )
    assert b"".join(answer.take(raw[at : at + 1]) for at in range(len(raw))) == (
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n"
        b"Via: 1.1 aion\r\nConnection: close\r\n\r\nok"
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 999 OK\r\n\r\n",
        b"a" * (answering.MAX_HEAD_BYTES + 1),
    ],
)
def test_an_answer_that_is_none_fails(raw: bytes):
    with pytest.raises(errors.UpstreamFailed):
        answering.AnswerHead("a.example").take(raw)


@given(
    some.lists(
        some.binary(max_size=20)
        | some.sampled_from([b"HTTP/1.1 200 OK\r\n", b"\r\n", b"HTTP/1.1 100 \r\n\r\n", b"A: b\r\n"]),
        max_size=10,
    )
)
def test_whatever_a_host_answers_passes_or_fails(pieces: list[bytes]):
    answer = answering.AnswerHead("a.example")
    try:
        for piece in pieces:
            answer.take(piece)
        answer.ended()
    except errors.UpstreamFailed:
        return
