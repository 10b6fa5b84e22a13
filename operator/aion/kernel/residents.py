"""Agents outside the cluster: who they registered as, and what that lets them do.

It stands apart from `grants` because these agents have no object in the cluster: what they ask for stands in their
registration, and the policy in force bounds it as it bounds everybody. An Agent object of the same id always wins. It
must never let a registration outlive its agent's silence, nor speak for an agent in a Pod.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aion.api import errors, ids, labels, meta
from aion.api import grant as grants
from aion.api.agent import Agent
from aion.api.shape import InvalidManifest
from aion.kernel.clock import wall_ms
from aion.kernel.grants import Grants
from aion.kernel.store import GATEWAY, OUTSIDE, Sighting, Store

REGISTERED_S = 3600
"""A registration without a heartbeat is forgotten after an hour; each heartbeat and syscall begins it anew."""

TOUCHED_MS = 60_000
"""A syscall renews its agent's registration at most this often: a write a minute, not one a call."""

AGENTS = 10_000
"""Registrations that are kept as Agents, so that a call does not read them anew."""

Capabilities = dict[str, bool | list[str]]

T = TypeVar("T", bound=meta.Kind)


class Limits(BaseModel):
    """What the agent's owner limits it to."""

    model_config = ConfigDict(extra="forbid")

    usd_max: str | None = Field(None, description="dollars, as a decimal string")
    timeout_ms: int | None = Field(None, ge=1)


class Registration(BaseModel):
    """`POST /v1/agent/register`. Capabilities by name (`["network", "tool.invoke"]`) or as in an Agent's spec."""

    model_config = ConfigDict(extra="forbid")

    agent_id: str = Field(max_length=160)
    name: str = Field("", max_length=63)
    version: str = Field("0.0.0", max_length=64)
    capabilities: list[str] | Capabilities = Field(default_factory=list)
    limits: Limits = Limits()
    manifest: dict[str, object] = Field(default_factory=dict, description="kept and shown, never interpreted")

    def agent(self) -> Agent:
        """Return the Agent that this registration asks to be; raises BadParams."""
        tenant, name = ids.parse_agent_id(self.agent_id)
        spec: dict[str, object] = {
            "version": self.version,
            "entry": "external",
            "capabilities": self._asked(),
            "policyOverrides": {"budget": {"usdMax": self.limits.usd_max} if self.limits.usd_max else {}},
        }
        if self.limits.timeout_ms:
            spec["timeoutMs"] = self.limits.timeout_ms
        body = {"apiVersion": labels.API_VERSION, "kind": "Agent", "metadata": {"name": "outside"}, "spec": spec}
        try:
            return named_as(Agent.from_cluster(body), tenant=tenant, name=name)
        except InvalidManifest as invalid:
            raise errors.BadParams(f"the registration asks for what an Agent cannot: {invalid}") from None

    def _asked(self) -> Capabilities:
        if isinstance(self.capabilities, dict):
            return self.capabilities
        flags: Capabilities = {name: True for name in self.capabilities if name in grants.CAPABILITIES}
        patterns = [name for name in self.capabilities if name not in grants.CAPABILITIES]
        return flags | {"syscalls": patterns} if patterns else flags


class Heartbeat(BaseModel):
    """`POST /v1/agent/heartbeat`, from an agent that no gateway reports for."""

    model_config = ConfigDict(extra="forbid")

    agent_id: str = Field(max_length=160)
    inflight: int = Field(0, ge=0)
    usage: dict[Annotated[str, Field(max_length=64)], int | float] = Field(default_factory=dict, max_length=32)


class Residents:
    """Finds the grant of an agent that calls the kernel itself, and remembers registrations in the store."""

    def __init__(
        self, granting: Grants, store: Store, *, anyone: bool = False, now_ms: Callable[[], int] = wall_ms
    ) -> None:
        """`anyone` grants an agent that never registered all that policy allows: for a laptop only."""
        self._grants = granting
        self._store = store
        self._anyone = anyone
        self._now_ms = now_ms
        self._agents: dict[str, tuple[str, Agent]] = {}

    async def grant(self, agent_id: str) -> grants.Grant:
        """Return what an agent may do; raises PolicyDenied where nobody knows it, Unavailable without policy or store."""
        tenant, name = ids.parse_agent_id(agent_id)
        if found := self._grants.of(tenant, name):
            return found
        seen = await self._store.sighting(agent_id)
        if seen is not None and seen.registration:
            await self._touch(seen)
            return self._grants.compile(self._agent(agent_id, seen.registration))
        if self._anyone:
            return self._grants.compile(self._agent(agent_id, _everything(agent_id)))
        raise errors.PolicyDenied(
            f"{agent_id} is not known here: apply an Agent {name} in namespace {tenant}, or POST /v1/agent/register",
            rule="identity.registered",
        )

    async def register(self, registration: Registration) -> grants.Grant:
        """Remember a registration and return what it comes to; an Agent object of that id has the last word.

        Raises BadParams, PolicyDenied where the agent lives in a Pod, or Unavailable.
        """
        tenant, name = ids.parse_agent_id(registration.agent_id)
        _outside(await self._store.sighting(registration.agent_id))
        own = self._grants.of(tenant, name)
        text = registration.model_dump_json()
        granted = own or self._grants.compile(self._agent(registration.agent_id, text))
        sighting = Sighting(
            agent_id=registration.agent_id,
            tenant=tenant,
            name=name,
            via=OUTSIDE,
            heard_ms=self._now_ms(),
            version=registration.version,
            registration="" if own else text,
            policy_revision=granted.policy_revision,
        )
        await self._store.see(sighting, ttl_s=REGISTERED_S)
        return granted

    async def heartbeat(self, beat: Heartbeat) -> grants.Grant:
        """Note that an agent lives, and return what it may do; raises PolicyDenied where it has to register first."""
        granted = await self.grant(beat.agent_id)
        seen = await self._store.sighting(beat.agent_id)
        _outside(seen)
        base = seen or Sighting(
            beat.agent_id, granted.tenant, granted.name, OUTSIDE, heard_ms=0, version=granted.version
        )
        now = replace(
            base,
            heard_ms=self._now_ms(),
            inflight=beat.inflight,
            usage=dict(beat.usage),
            policy_revision=granted.policy_revision,
        )
        await self._store.see(now, ttl_s=REGISTERED_S)
        return granted

    async def _touch(self, seen: Sighting) -> None:
        now_ms = self._now_ms()
        if now_ms - seen.heard_ms > TOUCHED_MS:
            await self._store.see(replace(seen, heard_ms=now_ms), ttl_s=REGISTERED_S)

    def _agent(self, agent_id: str, registration: str) -> Agent:
        """Return the Agent that a registration's JSON asks to be: the same object until the JSON is another."""
        known = self._agents.pop(agent_id, None)
        if known is None or known[0] != registration:
            try:
                known = (registration, Registration.model_validate_json(registration).agent())
            except ValidationError:  # another version of the kernel wrote it
                raise errors.PolicyDenied(
                    f"the registration of {agent_id} cannot be read any more: POST /v1/agent/register again",
                    rule="identity.registered",
                ) from None
        self._agents[agent_id] = known
        if len(self._agents) > AGENTS:
            del self._agents[next(iter(self._agents))]
        return known[1]


def _outside(seen: Sighting | None) -> None:
    """Return unless a gateway speaks for this agent; raises PolicyDenied."""
    if seen is not None and seen.via == GATEWAY:
        raise errors.PolicyDenied(
            f"{seen.agent_id} lives in Pod {seen.pod}, and its gateway reports for it", rule="identity.gateway"
        )


def _everything(agent_id: str) -> str:
    capabilities: Capabilities = dict.fromkeys(grants.CAPABILITIES, True)
    return Registration(agent_id=agent_id, capabilities=capabilities).model_dump_json()


def named_as(found: T, *, tenant: str, name: str) -> T:
    """Return an object under the names of an agent id, which are a little wider than a cluster's (`tenantA`)."""
    metadata = found.metadata.model_copy(update={"namespace": tenant, "name": name})
    return found.model_copy(update={"metadata": metadata})


def named(body: bytes) -> str:
    """Return the agent that a syscall's body names, or ""; the router judges the body, this only peeks."""
    try:
        return _named.decode(body).agent_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


class _Named(msgspec.Struct):
    agent_id: str = ""


_named = msgspec.json.Decoder(_Named)
