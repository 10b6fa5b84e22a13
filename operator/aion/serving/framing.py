"""Where a request ends: refused is whatever two readers of the same bytes could understand differently.

Apart because a proxy before us may read by other rules than our parser, and the difference is somebody else's request in
our caller's name (request smuggling). Pure. It must never repair what it was given: a repaired request is a third reading.
"""

from collections.abc import Iterable

from aion.api import errors

_TOLD = frozenset({b"content-length", b"transfer-encoding", b"host"})
_VERSIONS = frozenset({"1.1", "1.0"})


def verify(headers: Iterable[tuple[bytes, bytes]], *, version: str, upgrades: bool) -> None:
    """Return where everybody agrees on the request's end and on whom it is for; raises BadRequest.

    `headers` are by lower-case names; `upgrades` says that the request asks to go on in another protocol.
    """
    if version not in _VERSIONS:
        raise errors.BadRequest(f"got HTTP/{version}, expected HTTP/1.1")
    lengths = hosts = 0
    encoding: bytes | None = None
    for name, value in headers:
        if name not in _TOLD:
            continue
        if name == b"host":
            hosts += 1
        elif name == b"content-length":
            lengths += 1
        elif encoding is None:
            encoding = value.lower()
        else:
            raise errors.BadRequest("got the header transfer-encoding twice, expected it once")
    if hosts > 1:
        raise errors.BadRequest("got the header host twice, expected it once")
    if lengths > 1:
        raise errors.BadRequest("got the header content-length twice, expected it once")
    if encoding is not None:
        if lengths:
            raise errors.BadRequest("got both content-length and transfer-encoding, expected one of them")
        if encoding != b"chunked" or version != "1.1":
            raise errors.BadRequest(
                f"got transfer-encoding {encoding[:40]!r} of HTTP/{version}, expected chunked of 1.1"
            )
    if upgrades and (lengths or encoding is not None):
        raise errors.BadRequest("a request that asks to upgrade its connection has no body: send one or the other")
