"""The chain of audit records: each names the digest of the one before it, so that none can be changed, dropped or moved by itself.

Apart because four parties must agree on a record's bytes: the journal that writes, the kernel that keeps, `aionctl audit
verify` and whoever checks an export with tools of their own. Pure. The canonical form is RFC 8785 (keys in order, no
spaces, numbers as JavaScript writes them), so any JCS library will do. There is no key in it: who can write the whole chain can write
another. It must never be changed without a new name: old
exports would no longer verify.

    genesis   <Pod uid>@<ms since the epoch>         what record 1 names as `prev`; it is the chain's name, too
    record n  {"agent":…,"n":n,"prev":<hex>,…}       prev = sha256 of the canonical form of record n-1
"""

import hashlib
import re
from typing import Any, NamedTuple

import msgspec

_GENESIS = re.compile(r"([A-Za-z0-9._/-]{1,160})@([0-9]{1,15})")
_encode = msgspec.json.Encoder(order="sorted").encode
"""RFC 8785 for what a record holds: strings, whole numbers below 2^53 and `number`s. A third of rfc8785's cost per digit."""


class Place(NamedTuple):
    """Where the next record belongs: its number, and what it must name as `prev`."""

    n: int
    prev: str


def canonical(record: msgspec.Struct | dict[str, Any]) -> bytes:
    """The bytes that the digest is of."""
    return _encode(record)


def digest(line: bytes) -> str:
    """The digest of a record in its canonical form, in hex."""
    return hashlib.sha256(line).hexdigest()


def number(value: float) -> float:
    """A measured value as RFC 8785 writes it: 5 and not 5.0."""
    whole = int(value)
    return whole if whole == value else value


def genesis(holder: str, began_ms: int) -> str:
    """The name of a chain: who holds it (the Pod's uid), and when it began. Raises ValueError."""
    made = f"{holder}@{began_ms}"
    if not _GENESIS.fullmatch(made):
        raise ValueError(f"got {holder[:80]!r} and {began_ms}, expected a Pod's uid and ms since the epoch")
    return made


def holder(chain: str) -> str:
    """Whose chain this is; raises ValueError where it is no chain's name."""
    found = _GENESIS.fullmatch(chain)
    if found is None:
        raise ValueError(f"got {chain[:80]!r}, expected the name of an audit chain: <Pod uid>@<ms>")
    return found[1]
