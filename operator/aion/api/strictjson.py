"""JSON that every reader reads alike: UTF-8, and no object names a member twice.

Apart because whoever checks and whoever does are two readers: of `{"path":"a","path":"b"}` a policy may see one and a tool
the other. Readers that keep the first, the last or both all exist, as there are some that guess at bytes, so such a text is refused, here and before anything is
decided by it. What is not JSON at all is not said here: the reader behind says that better. Pure. It must never
build what it reads.
"""

import json

from aion.api import errors

_WHITE = " \t\n\r"


def verify(text: bytes) -> None:
    """Return unless `text` is not UTF-8, or some object in it names a member twice; raises BadRequest.

    It takes a few µs for a usual body.
    """
    try:
        read = text.decode()
    except UnicodeDecodeError as wrong:
        raise errors.BadRequest(f"the body is not UTF-8 at byte {wrong.start}") from None
    try:
        _decoder.raw_decode(read, len(read) - len(read.lstrip(_WHITE)))
    except ValueError:  # not JSON
        return
    except RecursionError:
        raise errors.BadRequest("the JSON is nested too deep") from None


def _once(members: list[tuple[str, object]]) -> None:
    if len(members) > 1 and len({name for name, _ in members}) < len(members):
        raise errors.BadRequest(f"got the member {_twice(members)[:64]!r} twice in one object, expected it once")


def _twice(members: list[tuple[str, object]]) -> str:
    """The first name that came a second time, in one pass: who sends many members must not make it many."""
    seen: set[str] = set()
    for name, _ in members:
        if name in seen:
            return name
        seen.add(name)
    raise AssertionError("no name came twice")


def _number(_: str) -> None:
    """Read no number: one of many digits costs more than all the rest."""


_decoder = json.JSONDecoder(object_pairs_hook=_once, parse_int=_number, parse_float=_number)
