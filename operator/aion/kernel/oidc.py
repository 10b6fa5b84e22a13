"""People: an OIDC token's claims, and what a person's groups let them do here. Pure; `jwks` has the keys, `people` asks.

It stands apart from `auth` because a person is no agent and no tenant: nobody can be registered, beaten for or called for by
a person's token. The mapping is the chart's `kernel.oidc.roles`, group by group; who is in no group of it may do nothing. It
must never read a claim before the signature over it was right.

    {"issuer": "https://id.example", "audience": "aion-os",
     "roles": [{"group": "platform", "role": "operator", "tenant": "*"}, {"group": "team-a", "role": "observer", "tenant": "team-a"}]}
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from aion.api import errors, ids

SKEW_S = 30
"""Clocks of issuer and kernel may differ by so much."""

MAX_GROUPS = 512
"""More than any directory sends in a token: beyond it, they send a link, which nobody here follows."""

EVERY = "*"

Role = Literal["observer", "operator"]

_READING = frozenset({"GET", "HEAD"})


class Mapped(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one group may do: an observer reads, an operator also acts; in one tenant, or in all by `*`."""

    group: str
    role: Role
    tenant: str


class Oidc(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Whose tokens are taken, and how they are read."""

    issuer: str
    audience: str
    username_claim: str = "sub"
    groups_claim: str = "groups"
    ca: str = ""
    """PEM of a certificate authority of one's own, where the issuer's is not among the system's."""
    roles: tuple[Mapped, ...] = ()


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whose token was right."""

    name: str
    groups: frozenset[str]


def read(text: str) -> Oidc | None:
    """Read the setting, None where it is empty; raises ValueError, which says what to write."""
    if not text.strip():
        return None
    try:
        given = msgspec.json.decode(text, type=Oidc)
    except msgspec.DecodeError as wrong:
        raise ValueError(f"kernel.oidc: {wrong}") from None
    if not secure(given.issuer):
        raise ValueError(f"kernel.oidc.issuer: got {given.issuer[:120]!r}, expected an https URL")
    if not given.audience:
        raise ValueError("kernel.oidc.audience: expected the client id or API by which the issuer names this kernel")
    for each in given.roles:
        if not each.group or not (each.tenant == EVERY or ids.is_tenant(each.tenant)):
            raise ValueError(f"kernel.oidc.roles: got {each}, expected a group, and a tenant or '*'")
    return given


def secure(url: str) -> bool:
    """Say whether a URL is asked over TLS, or does not leave this machine (which is how tests and laptops have it)."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"})


def person(claims: Mapping[str, Any], by: Oidc, *, now_s: float) -> Person:
    """Say whose token this is, by claims that the issuer signed; raises BadSignature where they are not for us and for now."""
    if claims.get("iss") != by.issuer:
        raise errors.BadSignature(f"the token's issuer is {str(claims.get('iss'))[:120]!r}, expected {by.issuer!r}")
    audience = claims.get("aud")
    if by.audience not in (audience if isinstance(audience, list) else [audience]):
        raise errors.BadSignature(f"the token is not for audience {by.audience!r}")
    expires = _moment(claims, "exp")
    if expires is None:
        raise errors.BadSignature("the token has no end (exp)")
    if now_s >= expires + SKEW_S:
        raise errors.BadSignature(f"the token ended {now_s - expires:.0f} s ago: sign in again")
    for claim in ("nbf", "iat"):
        begins = _moment(claims, claim)
        if begins is not None and begins - SKEW_S > now_s:
            raise errors.ClockSkew(f"the token begins in {begins - now_s:.0f} s ({claim}): synchronise clocks")
    name = claims.get(by.username_claim)
    if not isinstance(name, str) or not name:
        raise errors.BadSignature(f"the token does not say who this is: no claim {by.username_claim!r}")
    if by.username_claim == "email" and claims.get("email_verified") is not True:
        raise errors.BadSignature("the issuer has not verified this e-mail address, so it names nobody")
    groups = claims.get(by.groups_claim, [])
    known = [groups] if isinstance(groups, str) else groups
    if not isinstance(known, list) or len(known) > MAX_GROUPS:
        raise errors.BadSignature(f"claim {by.groups_claim!r} is not a list of at most {MAX_GROUPS} groups")
    return Person(name, frozenset(each for each in known if isinstance(each, str)))


def scope(who: Person, roles: Iterable[Mapped], *, method: str, tenant: str) -> str | None:
    """Return the tenant that this person may read (or act in, by `method`), None for all; raises PolicyDenied or TenantMismatch.

    `tenant` is the one that was chosen by X-Tenant-Id, or "". Who may in several tenants has to choose one: nothing is
    shown to somebody who may not know that it was more than one.
    """
    mine = [each for each in roles if each.group in who.groups]
    if not mine:
        raise errors.PolicyDenied(
            f"none of {who.name[:64]}'s groups has a role here: map one in kernel.oidc.roles", rule="oidc.roles"
        )
    wanted = {each.tenant for each in mine if method in _READING or each.role == "operator"}
    if not wanted:
        raise errors.PolicyDenied(f"{who.name[:64]} is an observer: reads, and changes nothing", rule="oidc.roles")
    if tenant:
        if tenant not in wanted and EVERY not in wanted:
            raise errors.TenantMismatch(
                f"{who.name[:64]} has no such role in tenant {tenant[:63]!r}", rule="oidc.roles"
            )
        return tenant
    if EVERY in wanted:
        return None
    if len(wanted) > 1:
        raise errors.TenantMismatch(f"choose one by X-Tenant-Id: {', '.join(sorted(wanted)[:16])}", rule="oidc.roles")
    return wanted.pop()


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise errors.BadSignature(f"claim {name!r} is not a time in seconds")
    return float(value)
