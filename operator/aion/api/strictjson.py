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
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise errors.BadRequest(f"got the member {twice[:64]!r} twice in one object, expected it once")


def _number(_: str) -> None:
    """Read no number: one of many digits costs more than all the rest."""


_decoder = json.JSONDecoder(object_pairs_hook=_once, parse_int=_number, parse_float=_number)
