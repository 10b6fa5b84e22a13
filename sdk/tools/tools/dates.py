"""Tool `python:tools.dates:difference`: how far two days are apart.

A Python tool is a function: its keyword parameters are the call's params, what it returns is the result,
a ValueError says that the params are wrong. It may not rely on state between calls: each is a fresh process.
"""

from __future__ import annotations

from datetime import date


def difference(start: str, end: str) -> dict[str, int]:
    """Count the days and whole weeks from `start` to `end` (ISO dates); negative when `end` is earlier."""
    days = (date.fromisoformat(end) - date.fromisoformat(start)).days
    return {"days": days, "weeks": int(days / 7)}
