"""WebSocket frames of a client (RFC 6455, section 5): its own out, masked; the server's in, checked.

Apart because this half is pure: bytes in, events out, the same whatever the pieces they came in. It knows what our two
protocols use, text and control frames without extensions. It must never hold more than one message's limit, read
anything behind what broke the protocol, nor pass on a text that is not UTF-8: results travel on as they are, undecoded.
"""

import os
import struct
from collections.abc import Iterator

import msgspec

NORMAL, PROTOCOL_ERROR, UNSUPPORTED, NO_STATUS, LOST, NOT_UTF8, TOO_BIG = 1000, 1002, 1003, 1005, 1006, 1007, 1009
"""Close codes. NO_STATUS and LOST stand for what nobody said and are never sent."""

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_FIN, _RESERVED, _OPCODE, _MASKED = 0x80, 0x70, 0x0F, 0x80
_MAX_CONTROL = 125
_MAX_SAID = 123  # a close frame's payload but for its code


class Text(msgspec.Struct, frozen=True, gc=False):
    """A whole message, put together where it came in fragments."""

    data: bytes


class Ping(msgspec.Struct, frozen=True, gc=False):
    """To be answered with a pong of the same data."""

    data: bytes


class Pong(msgspec.Struct, frozen=True, gc=False):
    """An answer to a ping, or a sign of life unasked."""

    data: bytes


class Closed(msgspec.Struct, frozen=True, gc=False):
    """The peer's last word; nothing comes after it."""

    code: int
    said: str


class Violation(msgspec.Struct, frozen=True, gc=False):
    """The peer did what the protocol or the limit forbids: close with this code. Nothing comes after it."""

    code: int
    said: str


Event = Text | Ping | Pong | Closed | Violation


class Reader:
    """What a server sent, as events."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max = max_bytes
        self._rest = bytearray()  # of a frame that is not whole
        self._message: bytearray | None = None  # of a text whose last fragment is not here
        self._over = False

    def feed(self, data: bytes | bytearray) -> Iterator[Event]:
        """Every event that is whole with `data`; what is left waits for more. An iterator that is left early ends the reading."""
        if self._over:
            return
        self._rest += data
        at = 0
        while (head := self._head(at)) is not None:
            if isinstance(head, Violation):
                self._over = True
                yield head
                break
            first, start, end = head
            if end > len(self._rest):
                break
            payload = bytes(memoryview(self._rest)[start:end])
            at = end
            event = self._event(first, payload)
            if event is not None:
                self._over = isinstance(event, Closed | Violation)
                yield event
                if self._over:
                    break
        if self._over:
            self._rest.clear()
        else:
            del self._rest[:at]

    def _head(self, at: int) -> tuple[int, int, int] | Violation | None:
        """Of the frame at `at`: its first byte, and where its payload begins and ends. None where more has to come."""
        rest = self._rest
        if len(rest) - at < 2:
            return None
        first, length = rest[at], rest[at + 1]
        if wrong := self._refuse(first, length):
            return Violation(PROTOCOL_ERROR, wrong)
        start = at + 2
        if length > _MAX_CONTROL:
            width, least = (2, 126) if length == 126 else (8, 1 << 16)
            if len(rest) - start < width:
                return None
            length = int.from_bytes(rest[start : start + width], "big")
            start += width
            if length < least or length >= 1 << 63:
                return Violation(PROTOCOL_ERROR, f"got {length} as a length of {width} bytes")
        taken = len(self._message or b"") if first & _OPCODE == _CONTINUATION else 0
        if taken + length > self._max:
            return Violation(TOO_BIG, f"got a message of {taken + length} bytes or more, expected at most {self._max}")
        return first, start, start + length

    def _refuse(self, first: int, length: int) -> str | None:
        """Why the first two bytes of a frame cannot be; None where they can."""
        opcode = first & _OPCODE
        if first & _RESERVED:
            return "got a reserved bit, expected no extension, for none was agreed"
        if length & _MASKED:
            return "got a masked frame, expected a server's"
        if opcode in (_CLOSE, _PING, _PONG):
            if not first & _FIN:
                return "got a control frame in fragments"
            return "got a control frame of more than 125 bytes" if length > _MAX_CONTROL else None
        if opcode not in (_CONTINUATION, _TEXT, _BINARY):
            return f"got opcode {opcode}, which there is not"
        if opcode == _CONTINUATION and self._message is None:
            return "got a continuation of nothing"
        if opcode != _CONTINUATION and self._message is not None:
            return "got a new message within another"
        return None

    def _event(self, first: int, payload: bytes) -> Event | None:
        """What a whole frame says; None for a fragment that is not the last."""
        opcode = first & _OPCODE
        if opcode == _TEXT and first & _FIN:
            return _text(payload)
        if opcode == _PING:
            return Ping(payload)
        if opcode == _PONG:
            return Pong(payload)
        if opcode == _CLOSE:
            return _closed(payload)
        if opcode == _BINARY:
            return Violation(UNSUPPORTED, "got a binary message, expected text")
        self._message = self._message if self._message is not None else bytearray()
        self._message += payload
        if not first & _FIN:
            return None
        whole, self._message = bytes(self._message), None
        return _text(whole)


def text(data: bytes) -> bytes:
    """A text message in one frame."""
    return _frame(_TEXT, data)


def ping(data: bytes = b"") -> bytes:
    """A ping; at most 125 bytes."""
    return _frame(_PING, data)


def pong(data: bytes) -> bytes:
    """The answer to a ping: its own data."""
    return _frame(_PONG, data)


def close(code: int, said: str = "") -> bytes:
    """The last frame, with as much of the reason as it may hold; NO_STATUS sends none."""
    if code == NO_STATUS:
        return _frame(_CLOSE, b"")
    reason = said.encode()[:_MAX_SAID].decode(errors="ignore").encode()  # never half a character
    return _frame(_CLOSE, code.to_bytes(2, "big") + reason)


def _frame(opcode: int, data: bytes) -> bytes:
    size, key = len(data), os.urandom(4)
    if size <= _MAX_CONTROL:
        head = bytes((_FIN | opcode, _MASKED | size))
    elif size < 1 << 16:
        head = struct.pack("!BBH", _FIN | opcode, _MASKED | 126, size)
    else:
        head = struct.pack("!BBQ", _FIN | opcode, _MASKED | 127, size)
    # As one number: a loop over the bytes would cost a hundred times as much.
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "little")
    return head + key + (int.from_bytes(data, "little") ^ mask).to_bytes(size, "little")


def _text(data: bytes) -> Text | Violation:
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            return Violation(NOT_UTF8, f"got a text that is no UTF-8 at byte {error.start}")
    return Text(data)


def _closed(payload: bytes) -> Closed | Violation:
    if not payload:
        return Closed(NO_STATUS, "")
    code = int.from_bytes(payload[:2], "big")
    # RFC 6455, 7.4, and the codes registered since; 3000 to 4999 are free for libraries and applications.
    if len(payload) < 2 or not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        return Violation(PROTOCOL_ERROR, f"got close code {code}, which nobody may send")
    return Closed(code, payload[2:].decode(errors="replace"))
