"""Whether a journal's records follow on one another: the judgement on each record that a gateway sends up.

Apart because two stores must judge alike: `append.lua` says the same in Redis, where it is one step with the writing, and
this in memory; a test compares them. Pure. It must never be a reason to refuse a record: what happened is kept, and the
break is an event beside it.

    restarted   the holder began a second chain: its journal, and what was in it, is gone
    beginning   the first record that we know of this chain is not its first
    gap         numbers are missing
    changed     the record names another digest than that of the record before it
    forked      another record came by a number that is taken
"""

from typing import Literal, NamedTuple

What = Literal["restarted", "beginning", "gap", "changed", "forked"]


class Head(NamedTuple):
    """The newest record that is known of a chain. The first record names the chain itself, which `drafts` takes for ""."""

    upto: int = 0
    digest: str = ""


def follows(head: Head, *, n: int, prev: str, restarted: bool) -> list[What]:
    """What is wrong with a record above the head; nothing where it follows on it."""
    found: list[What] = []
    if head.upto == 0 and restarted:
        found.append("restarted")
    if n > head.upto + 1:
        found.append("beginning" if head.upto == 0 else "gap")
    elif prev != head.digest:
        found.append("changed")
    return found


def told(body: bytes, what: What, *, n: int, after: int) -> bytes:
    """The event of a break; `body` is its JSON without the last brace."""
    return b'%b,"what":"%b","n":%d,"after":%d}' % (body, what.encode(), n, after)
