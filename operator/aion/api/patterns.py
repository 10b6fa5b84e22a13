"""Patterns over dotted names: `memory.*` covers `memory.put`, `*` covers everything, any other covers itself.

Apart because grants, policy bundles and the CLI must read them alike. It must never grow into globbing: a pattern that
a person misreads is a right that nobody meant to give.
"""

from collections.abc import Iterable


def covers(pattern: str, name: str) -> bool:
    """Whether `pattern` covers `name`."""
    if pattern in ("*", name):
        return True
    return pattern.endswith(".*") and name.startswith(pattern[:-1])


def first(patterns: Iterable[str], name: str) -> str | None:
    """The first pattern that covers `name`, or None."""
    return next((pattern for pattern in patterns if covers(pattern, name)), None)
