"""Before and behind the proof of who asks: how often somebody may ask at all.

It stands apart from `auth` because a right proof may come too often, and a wrong one must not cost us more than it costs
who sends it: a stranger's token is looked up at the API server, a stranger's tenant too. It must never count a caller
by what was not proved: only strangers are counted by their address, by its network where it is of IPv6.
"""

import ipaddress
import time
from collections.abc import Awaitable, Callable

from aion.api import errors
from aion.kernel.auth import Asked, Authority, Caller, Tokens
from aion.kernel.rates import Meter, Rate, Rates


class Edge:
    """The meters of one replica."""

    def __init__(self, rates: Rates, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tenants = _meter(rates.tenant_per_second, rates)
        self._callers = _meter(rates.caller_per_second, rates)
        self._strangers = _meter(rates.stranger_per_second, rates)

    async def proven(self, asked: Asked, proof: Callable[[], Awaitable[Caller]]) -> Caller:
        """Return who asks, once they may; raises Busy or QuotaExceeded beside what the proof raises."""
        now = self._clock()
        place = _place(asked.peer) if self._strangers is not None else ""
        if self._strangers is not None and (wait := self._strangers.wait(place, now=now)):
            raise errors.Busy(
                f"too many requests of {asked.peer or 'this address'} proved nothing; the next is looked at in {wait:.1f} s",
                retry_after_ms=_ms(wait),
            )
        try:
            caller = await proof()
        except errors.Unauthenticated:
            if self._strangers is not None:
                self._strangers.charge(place, now=now)
            raise
        self._charge(self._callers, f"{caller.tenant} {caller.agent_id or caller.who}", "caller")
        if caller.tenant is not None:
            self._charge(self._tenants, caller.tenant, "tenant")
        return caller

    def _charge(self, meter: Meter | None, key: str, whose: str) -> None:
        if meter is not None and (wait := meter.charge(key, now=self._clock())):
            raise errors.QuotaExceeded(
                f"more than {meter.rate.per_s:g} requests a second of this {whose}; come back in {wait:.1f} s",
                rule=f"kernel.rates.{whose}PerSecond",
                retry_after_ms=_ms(wait),
            )


class Guarded:
    """An authority behind the edge."""

    def __init__(self, authority: Authority, edge: Edge) -> None:
        self._authority = authority
        self._edge = edge

    async def caller(self, asked: Asked, *, path: str) -> Caller:
        """Return who asks."""
        return await self._edge.proven(asked, lambda: self._authority.caller(asked, path=path))


class GuardedGateways:
    """The proof of gateways behind the edge."""

    def __init__(self, tokens: Tokens, edge: Edge) -> None:
        self._tokens = tokens
        self._edge = edge

    async def gateway(self, asked: Asked) -> Caller:
        """Return the agent whose gateway asks."""
        return await self._edge.proven(asked, lambda: self._tokens.gateway(asked))


def _place(peer: str) -> str:
    """Where a stranger is: an IPv4 address, or the /64 of an IPv6 one, any address of which is the same host's for the asking."""
    try:
        found = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return f"{int(found) >> 64:x}::/64"
        found = found.ipv4_mapped
    return str(found)


def _meter(per_s: float, rates: Rates) -> Meter | None:
    rate = Rate.of(per_s, rates.burst_seconds)
    return Meter(rate) if rate else None


def _ms(wait_s: float) -> int:
    return max(1, round(wait_s * 1000))
