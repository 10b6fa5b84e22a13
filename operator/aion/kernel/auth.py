"""Who asks: one question, four proofs (HMAC v1, a gateway's token, an operator's token, a person's), one answer.

It stands apart so that no route ever reads a header. It must never fall back from a proof that failed to a weaker
one, and never say more to a stranger than which header to fix.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from aion.api import errors, ids, labels, signing
from aion.api.agent import Agent
from aion.kernel.cluster import ApiError
from aion.kernel.reviews import Bearer, Reviews
from aion.kernel.store import Store
from aion.kernel.tenantkeys import TenantKeys

EVENTS_PATH = "/v1/events/stream"
AGENTS_PATH = "/v1/agents"
AUDIT_PATH = "/v1/audit"
POLICY_PATH = "/v1/policy/current"
"""What RBAC is asked for (nonResourceURLs, verb get) where an operator comes; one path stands for all below it."""

PERSON = "person"

_PROOFS = frozenset(
    name.lower().encode()
    for name in (
        signing.TENANT,
        signing.AGENT,
        signing.KEY_ID,
        signing.TIMESTAMP,
        signing.NONCE,
        signing.SIGNATURE,
        "authorization",
    )
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be proved: the request as it came, its body whole. Header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""
    peer: str = ""
    """The address at the other end: a proxy's, where there is one."""

    @classmethod
    def of(cls, scope: Mapping[str, Any], body: bytes = b"") -> "Asked":
        """Read an ASGI scope: path and query raw, since those are what a signature covers; raises BadSignature.

        A header that proves who asks may stand once: of two, one reader would take the first and another the last.
        """
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            lowered = name.lower()
            text = lowered.decode("latin-1")
            if lowered in _PROOFS and text in headers:
                raise errors.BadSignature(f"got the header {text} twice, expected it once")
            headers[text] = value.decode("latin-1")
        query: bytes = scope["query_string"]
        target: bytes = scope["raw_path"] + (b"?" + query if query else b"")
        peer, _ = scope.get("client") or ("", 0)
        return cls(str(scope.get("method", "GET")), target.decode("latin-1"), headers, body, peer)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `tenant=None` is an operator, who speaks for no tenant; `agent_id` is "" where no agent is named."""

    tenant: str | None
    agent_id: str
    via: str
    """`hmac`, `token`, `operator` or `person`."""
    pod: str = ""
    pod_uid: str = ""
    who: str = field(default="", compare=False)
    """The account or the person, for a caller that is no agent; who they are and not what they may."""

    def owns(self, agent_id: str) -> None:
        """Return when this caller may speak for that agent; raises TenantMismatch, PolicyDenied or BadRequest."""
        if self.via == PERSON:
            raise errors.PolicyDenied(
                "a person speaks for no agent: sign by a key of its tenant", rule="identity.agent"
            )
        try:
            tenant, _ = ids.parse_agent_id(agent_id)
        except ValueError as malformed:
            raise errors.BadRequest(str(malformed)) from None
        if self.tenant != tenant:
            proved = f"proved {self.tenant!r}" if self.tenant is not None else "is an operator, who speaks for no agent"
            raise errors.TenantMismatch(
                f"{agent_id} belongs to tenant {tenant!r}, the caller {proved}", rule="identity.tenant"
            )
        if self.agent_id and self.agent_id != agent_id:
            raise errors.PolicyDenied(f"the caller is {self.agent_id}, not {agent_id}", rule="identity.agent")

    def narrow(self, tenant: str | None) -> str | None:
        """Return the tenant to show: the caller's own, for an operator the one that is asked for, None for all.

        Raises TenantMismatch where a tenant asks for another.
        """
        if self.tenant is None:
            return tenant or None
        if tenant and tenant != self.tenant:
            raise errors.TenantMismatch(
                f"asked for tenant {tenant[:63]!r}, the caller proved {self.tenant!r}", rule="identity.tenant"
            )
        return self.tenant


class Authority(Protocol):
    """Decides who asks."""

    async def caller(self, asked: Asked, *, path: str) -> Caller:
        """Return who asks; raises Unauthenticated, Forbidden or Unavailable."""


class _Noted(signing.ReplayCache):
    """Notes the nonce of a right MAC, so that it can be claimed in the shared store after the pure check."""

    nonce = ""

    def remember(self, tenant: str, nonce: str, *, timestamp_ms: int, now_ms: int) -> None:  # noqa: ARG002
        """Note the nonce; the store decides whether it is new."""
        self.nonce = f"{tenant}:{nonce}"


class Signed:
    """HMAC v1 over the tenant's keys; a nonce is claimed in the store, so every replica knows it."""

    def __init__(
        self, keys: TenantKeys, store: Store, *, now_ms: Callable[[], int], older: Authority | None = None
    ) -> None:
        """`older` judges signatures that are not of version 1; None: nobody does."""
        self._older = older
        self._keys = keys
        self._store = store
        self._now_ms = now_ms

    async def caller(self, asked: Asked, *, path: str) -> Caller:
        """Return who signed; raises BadSignature, ClockSkew, Replay or Unavailable."""
        signature = asked.headers.get("x-sig-hmac", "")
        if signature and not signature.lstrip().startswith("v1="):
            if self._older is not None:
                return await self._older.caller(asked, path=path)
            raise errors.BadSignature(
                "X-Sig-HMAC without `v1=` is the legacy MAC over the body alone, which this kernel does not accept: "
                "sign by version 1 (aion_sdk does)"
            )
        claimed = asked.headers.get(signing.TENANT.lower(), "")
        ring = await self._keys.ring(claimed)
        noted = _Noted()
        signer = signing.verify(
            asked.headers,
            asked.method,
            asked.target,
            asked.body,
            keys=lambda tenant, key_id: ring.get(key_id) if tenant == claimed else None,
            now_ms=self._now_ms(),
            seen=noted,
        )
        # Remembered from now, for as long as any clock could still take its timestamp.
        if not await self._store.claim_nonce(noted.nonce, ttl_ms=2 * signing.WINDOW_MS + signing.SKEW_MS):
            raise errors.Replay("this nonce was used before: make a fresh one for every request, also for a retry")
        return Caller(tenant=signer.tenant, agent_id=signer.agent_id, via="hmac")


class Agents(Protocol):
    """The Agents of the cluster, as a `registry.Collection` shows them."""

    def get(self, namespace: str, name: str) -> Agent | None:
        """Return one Agent, or None where there is none."""


class Tokens:
    """ServiceAccount tokens: an agent's own (audience `aion-kernel`), or a person's or machine's that RBAC lets in.

    An agent is known by the token that the kubelet gave to its Pod, and by no other: one for the API server's audience may
    have left the Pod, and one that is bound to no Pod was made by whoever may make tokens.
    """

    def __init__(self, reviews: Reviews, *, audience: str, agents: Agents) -> None:
        self._reviews = reviews
        self._audience = audience
        self._agents = agents

    async def gateway(self, asked: Asked) -> Caller:
        """Return the agent whose gateway asks; raises BadSignature, PolicyDenied or Unavailable.

        Its Agent need not be known yet: the Pod may be faster than our watch.
        """
        bearer = await self._who(token_of(asked), audience=self._audience)
        if bearer is None:
            raise errors.BadSignature(f"the bearer token is not valid for audience {self._audience!r}")
        caller = _agent(bearer)
        if caller is None:
            raise errors.PolicyDenied(
                f"{bearer.username} is not an agent's ServiceAccount (agent-<name>)", rule="identity.gateway"
            )
        return caller

    async def caller(self, asked: Asked, *, path: str) -> Caller:
        """Return an agent, or an operator whom RBAC allows to get this path."""
        token = token_of(asked)
        ours = await self._who(token, audience=self._audience)
        bearer = ours or await self._who(token, audience=None)
        if bearer is None:
            raise errors.BadSignature("the bearer token is not valid, neither for this kernel nor for the cluster")
        if await self._may(bearer, path=path):
            return Caller(tenant=None, agent_id="", via="operator", who=bearer.username)
        if ours is not None and (caller := _agent(ours)) is not None:
            self._lives(caller)
            return caller
        raise errors.PolicyDenied(
            f"{bearer.username} may not get {path}: bind it to a ClusterRole with nonResourceURLs [{path!r}], verbs [get] "
            f"(an agent is known by its Pod's token of audience {self._audience!r} alone)",
            rule="rbac.nonResourceURLs",
        )

    def _lives(self, caller: Caller) -> None:
        """Return when the Pod of this token is the one of its Agent; raises PolicyDenied."""
        tenant, name = ids.parse_agent_id(caller.agent_id)
        found = self._agents.get(tenant, name)
        if found is None:
            raise errors.PolicyDenied(f"there is no Agent {name} in {tenant}", rule="identity.gateway")
        if found.status.pod_name not in ("", caller.pod):
            raise errors.PolicyDenied(
                f"the token was issued to Pod {caller.pod}, that of Agent {name} is {found.status.pod_name}",
                rule="identity.gateway",
            )

    async def _who(self, token: str, *, audience: str | None) -> Bearer | None:
        try:
            return await self._reviews.who(token, audience=audience)
        except ApiError as failed:
            raise errors.Unavailable(f"the token cannot be reviewed: {failed}") from failed

    async def _may(self, bearer: Bearer, *, path: str) -> bool:
        try:
            return await self._reviews.may_path(bearer, verb="get", path=path)
        except ApiError as failed:
            raise errors.Unavailable(f"the caller's rights cannot be reviewed: {failed}") from failed


class Gateways(Protocol):
    """Decides whose gateway opens a channel."""

    async def gateway(self, asked: Asked) -> Caller:
        """Return the agent whose gateway asks; raises Unauthenticated, Forbidden or Unavailable."""


class Either:
    """A bearer token where one is sent, else a signature."""

    def __init__(self, tokens: Authority, signed: Authority) -> None:
        self._tokens = tokens
        self._signed = signed

    async def caller(self, asked: Asked, *, path: str) -> Caller:
        """Return who asks."""
        chosen = self._tokens if "authorization" in asked.headers else self._signed
        return await chosen.caller(asked, path=path)


def token_of(asked: Asked) -> str:
    """Return the bearer token; raises BadSignature."""
    scheme, _, token = asked.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise errors.BadSignature("expected the header Authorization: Bearer <token>")
    return token.strip()


def _agent(bearer: Bearer) -> Caller | None:
    """Return the agent whose account this is, None for other accounts; raises PolicyDenied for one outside of its Pod."""
    account = bearer.service_account
    name = labels.agent_of_service_account(account[1]) if account else None
    if account is None or name is None:
        return None
    pod, pod_uid = bearer.pod
    if not pod_uid or not pod.startswith(f"{name}-"):
        raise errors.PolicyDenied(
            f"{bearer.username} asks from Pod {pod or '(none)'}, expected a token bound to a Pod of Agent {name}",
            rule="identity.gateway",
        )
    return Caller(
        tenant=account[0],
        agent_id=ids.agent_id(account[0], name),
        via="token",
        pod=pod,
        pod_uid=pod_uid,
    )
