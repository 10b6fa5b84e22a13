"""Whole events out of a stream that comes in pieces: server-sent events, and lines of JSON.

Apart because a piece ends where a packet ended. What is whole goes on exactly as it came, byte for byte. Pure. It must
never keep more than one unfinished event, nor one without end.
"""

import re

from aion.api import errors

MAX_EVENT = 4 << 20
"""A picture in one event fits; a stream that never ends one does not."""

_BLANK = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_DATA = b"data: "


class Events:
    """Server-sent events, each with the empty line that ends it."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The events that are whole now; raises UpstreamFailed for one that has no end."""
        whole = self._rest + piece if self._rest else piece
        if b"\r" in whole:
            found, at = [], 0
            for blank in _BLANK.finditer(whole):
                found.append(whole[at : blank.end()])
                at = blank.end()
            self._rest = whole[at:]
        else:
            *parts, self._rest = whole.split(b"\n\n")
            found = [part + b"\n\n" for part in parts]
        _bounded(self._rest)
        return found

    @property
    def rest(self) -> bytes:
        """What is not whole."""
        return self._rest


class Lines:
    """Lines, each with its end."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that are whole now; raises UpstreamFailed for one that has no end."""
        *parts, self._rest = (self._rest + piece).split(b"\n")
        _bounded(self._rest)
        return [part + b"\n" for part in parts]

    @property
    def rest(self) -> bytes:
        """What is not whole."""
        return self._rest


def data(event: bytes) -> bytes:
    """What an event says: its data lines, joined; empty for a comment."""
    line = event.rstrip(b"\r\n")
    if line.startswith(_DATA) and b"\n" not in line and b"\r" not in line:
        return line[len(_DATA) :]  # nearly every event
    said = [each[5:].removeprefix(b" ") for each in line.splitlines() if each.startswith(b"data:")]
    return b"\n".join(said)


def _bounded(rest: bytes) -> None:
    if len(rest) > MAX_EVENT:
        raise errors.UpstreamFailed(f"the backend's stream has an event of more than {MAX_EVENT} bytes")
