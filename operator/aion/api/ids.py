"""Identities and units: agent ids, tenants, audit ids, micro-USD.

Apart because every process, SDK and record agrees on these spellings. Pure: the clock and the randomness come in as
arguments. It must never hold money in a float: a dollar is 1_000_000 micro-USD, an integer.
"""

import re
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import lru_cache
from typing import NewType

AgentId = NewType("AgentId", str)
Tenant = NewType("Tenant", str)
MicroUSD = NewType("MicroUSD", int)
Millis = NewType("Millis", int)

MICRO_PER_USD = 1_000_000
MAX_USD = Decimal(1_000_000_000)  # a billion dollars: 10^15 micro-USD, exact in every JSON reader (< 2^53)

# In a cluster a tenant is a namespace (DNS label); outside, as in `aionctl kernel dev`, names are a little wider.
_NAME = r"[A-Za-z0-9._-]{1,63}"
_AGENT_ID = re.compile(rf"agent://({_NAME})/({_NAME})")
_TENANT = re.compile(_NAME)

_DOLLARS = re.compile(r"[0-9]{1,16}(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?")  # what JSON's grammar calls a number

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(a + b for a in _CROCKFORD for b in _CROCKFORD)  # 10 bits a look-up: 13 of them make 26 characters


def agent_id(tenant: str, name: str) -> AgentId:
    """`agent://<tenant>/<name>`; raises ValueError if either part could not be parsed back."""
    made = f"agent://{tenant}/{name}"
    parse_agent_id(made)
    return AgentId(made)


def parse_agent_id(text: str) -> tuple[Tenant, str]:
    """Take an agent id apart into its tenant and its name; raises ValueError."""
    found = _AGENT_ID.fullmatch(text)
    if not found:
        raise ValueError(f"got agent id {text[:160]!r}, expected agent://<tenant>/<name> with parts of {_NAME}")
    return Tenant(found[1]), found[2]


def is_tenant(text: str) -> bool:
    """Whether this could be the name of a tenant."""
    return _TENANT.fullmatch(text) is not None


def audit_id(now_ms: int, rand: bytes) -> str:
    """`sc-` and a ULID: 48 bits of time, 80 bits of randomness, so that ids sort by time.

    `rand` is exactly 10 bytes; give `secrets.token_bytes(10)` outside tests.
    """
    if len(rand) != 10:
        raise ValueError(f"got {len(rand)} random bytes, expected 10")
    if not 0 <= now_ms < 1 << 48:
        raise ValueError(f"got {now_ms} ms, expected a time within 48 bits")
    # Five pairs of time and twice four of chance, written out: a loop over the 130 bits takes twice as long.
    high, low, pair = int.from_bytes(rand[:5], "big"), int.from_bytes(rand[5:], "big"), _PAIRS
    return (
        f"sc-{pair[now_ms >> 40]}{pair[now_ms >> 30 & 1023]}{pair[now_ms >> 20 & 1023]}{pair[now_ms >> 10 & 1023]}"
        f"{pair[now_ms & 1023]}{pair[high >> 30]}{pair[high >> 20 & 1023]}{pair[high >> 10 & 1023]}{pair[high & 1023]}"
        f"{pair[low >> 30]}{pair[low >> 20 & 1023]}{pair[low >> 10 & 1023]}{pair[low & 1023]}"
    )


def micro_usd(amount: float | str | Decimal) -> MicroUSD:
    """Dollars, as a number or a decimal string, in whole micro-USD; raises ValueError.

    A string says exactly what it means, so more than six decimals are refused; a JSON number has been through binary
    and is rounded (0.1 + 0.2 is 300000).
    """
    return _seen(amount) if isinstance(amount, float | int | str) else _micro_usd(amount)


def _micro_usd(amount: float | str | Decimal) -> MicroUSD:
    if isinstance(amount, bool):
        raise ValueError("got a boolean, expected dollars")  # noqa: TRY004 - one error type for one parser
    if isinstance(amount, str) and not _DOLLARS.fullmatch(amount):
        raise ValueError(f"got {amount[:40]!r}, expected dollars such as 0.10")
    try:
        dollars = Decimal(repr(amount)) if isinstance(amount, float) else Decimal(amount)
    except InvalidOperation:
        raise ValueError(f"got {str(amount)[:40]!r}, expected dollars such as 0.10") from None
    if not dollars.is_finite() or not 0 <= dollars <= MAX_USD:
        raise ValueError(f"got {str(amount)[:40]!r} dollars, expected 0 to {MAX_USD}")
    micros = dollars * MICRO_PER_USD
    whole = micros.to_integral_value(rounding=ROUND_HALF_EVEN)
    if whole != micros and not isinstance(amount, float):
        raise ValueError(f"got {str(amount)[:40]!r} dollars, expected at most six decimals")
    return MicroUSD(int(whole))


# A caller names the same few limits with every syscall, and reading one costs 3 to 7 us. Typed: True is not 1.
_seen = lru_cache(maxsize=256, typed=True)(_micro_usd)


def usd(micros: int) -> str:
    """Micro-USD as a decimal string without trailing zeros: 100000 is `0.1`."""
    whole, rest = divmod(micros, MICRO_PER_USD)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")
