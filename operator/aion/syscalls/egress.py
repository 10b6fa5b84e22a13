"""Where net.fetch may go: which host and port by the grant, and which address a name may turn out to be.

Apart because this is the part that an attacker argues with, and it is pure: rules and addresses in, a decision out. The
host's name is judged before it is resolved, every address after, and only an address that was judged is dialled. It must
never let through an address that is not on the public Internet, unless a rule says so.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from aion.api import errors
from aion.api.grant import FetchRule

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_PLATFORM = tuple(
    ipaddress.ip_network(each)
    for each in (
        "168.63.129.16/32",  # Azure's host channel: routable, never public
        "100.100.100.200/32",  # Alibaba's metadata, in shared address space
        "192.0.0.0/24",  # protocol assignments, among them Oracle's metadata
        "fd00:ec2::/32",  # AWS by IPv6: metadata, and credentials for Pods
        "fd20:ce::/32",  # Google's metadata by IPv6
    )
)
"""Where clouds speak to their own machines, outside the link-local range that holds all else of it."""
_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


def address(text: str) -> Address | None:
    """An address literal, IPv6 brackets and zone allowed; None for a name."""
    try:
        return ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _within(found: Address) -> Address:
    """The IPv4 address that an IPv6 one only wraps: mapped, 6to4, Teredo or NAT64 all end up there."""
    if isinstance(found, ipaddress.IPv4Address):
        return found
    if found.ipv4_mapped is not None:
        return found.ipv4_mapped
    if found.sixtofour is not None:
        return found.sixtofour
    if found.teredo is not None:
        return found.teredo[1]
    if found in _NAT64:
        return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    if int(found) >> 32 == 0 and int(found) > 1:  # ::a.b.c.d, the long deprecated "compatible" form
        return ipaddress.IPv4Address(int(found))
    return found


def is_public(found: Address) -> bool:
    """Whether an address is on the public Internet and one host's."""
    inner = _within(found)
    return (
        inner.is_global
        and not inner.is_multicast
        and not inner.is_reserved
        and not inner.is_unspecified
        and not (isinstance(inner, ipaddress.IPv6Address) and inner.is_site_local)
        and not _is_platform(inner)
    )


def _is_platform(found: Address) -> bool:
    return any(found in network for network in _PLATFORM)


def is_private_host(found: Address) -> bool:
    """Whether an address is a host of a private network or cluster: never this Pod itself, nor the node's own services."""
    inner = _within(found)
    return not (
        inner.is_loopback
        or inner.is_link_local
        or inner.is_multicast
        or inner.is_unspecified
        or inner.is_reserved
        or _is_platform(inner)
        or is_public(found)
    )


@dataclass(frozen=True, slots=True)
class Allowed:
    """A host and port that a rule names. Its addresses still have to be judged, each by `admits`."""

    host: str
    port: int
    rule: FetchRule
    revision: int

    def admits(self, found: Address) -> bool:
        """Whether this address may be dialled for this host."""
        if is_public(found):
            return True
        if not self.rule.private:
            return False
        if is_private_host(found):
            return True
        # This Pod, this node: only where the rule names that very place, not by way of a name that resolves to it.
        named = address(self.rule.host)
        return named == found or (found.is_loopback and self.rule.host in _LOCAL_NAMES)

    def choose(self, found: Sequence[Address]) -> list[Address]:
        """Those of a name's addresses that may be dialled; raises PolicyDenied where none may."""
        fit = [each for each in found if self.admits(each)]
        if not fit:
            shown = ", ".join(str(each) for each in found[:4]) or "nothing"
            raise errors.PolicyDenied(
                f"{self.host} is {shown}: not a public address",
                rule=f"egress.private@rev{self.revision}: the rule for {self.rule.host} does not say private",
            )
        return fit


class Reach:
    """The hosts of one grant, ready to be looked up: exact names first, then the longest suffix."""

    def __init__(self, rules: Sequence[FetchRule], *, revision: int) -> None:
        self._revision = revision
        self._exact: dict[str, list[FetchRule]] = {}
        self._below: list[tuple[str, FetchRule]] = []
        for rule in rules:
            host = rule.host.lower().rstrip(".")
            if host == "*":
                self._below.append(("", rule))
            elif host.startswith("*."):
                self._below.append((host[1:], rule))
            else:
                self._exact.setdefault(host.strip("[]"), []).append(rule)
        self._below.sort(key=lambda pair: len(pair[0]), reverse=True)

    def verify(self, host: str, port: int) -> Allowed:
        """The rule under which this host and port may be reached; raises PolicyDenied where none says so."""
        name = host.lower().rstrip(".").strip("[]")
        fit = [*self._exact.get(name, ()), *(rule for suffix, rule in self._below if name.endswith(suffix))]
        for rule in fit:
            if port in rule.ports:
                return Allowed(name, port, rule, self._revision)
        why = f"port {port} is not among those of {fit[0].host}" if fit else "no rule names this host"
        raise errors.PolicyDenied(f"agent may not reach {name}:{port}", rule=f"egress.allow@rev{self._revision}: {why}")
