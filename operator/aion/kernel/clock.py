"""The wall clock, in the contract's unit.

It stands apart so that one place names it: decisions get the time as an argument, records get it from here.
"""

import time


def wall_ms() -> int:
    """Return the wall clock in milliseconds."""
    return time.time_ns() // 1_000_000
