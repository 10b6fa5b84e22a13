"""Agents outside the cluster: who they registered as, and what that lets them do.

It stands apart from `grants` because these agents have no object in the cluster: what they ask for stands in their
registration, and the policy in force bounds it as it bounds everybody. An Agent object of the same id always wins. It
must never let a registration outlive its agent's silence, nor speak for an agent in a Pod.
"""

from dataclasses import replace

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from aion.api import errors, ids
from aion.api import grant as grants
from aion.api.agent import Agent
from aion.api.shape import InvalidManifest
from aion.kernel.grants import Grants
from aion.kernel.store import Sighting, Store

REGISTERED_S = 3600
"""A registration without a heartbeat is forgotten after an hour; each heartbeat and syscall begins it anew."""

Capabilities = dict[str, bool | list[str]]


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
        body = {"apiVersion": "aion.os/v1", "kind": "Agent", "metadata": {"name": name, "namespace": tenant}, "spec": spec}
        try:
            return Agent.from_cluster(body)
        except InvalidManifest as invalid:
            raise errors.BadParams(f"the registration asks for what an Agent cannot: {invalid}") from None

    def _asked(self) -> Capabilities:
        if isinstance(self.capabilities, dict):
            return self.capabilities
        flags: Capabilities = {name: True for name in self.capabilities if name in grants.CAPABILITIES}
        patterns = [name for name in self.capabilities if name not in grants.CAPABILITIES]
        return flags | {"syscalls": patterns} if patterns else flags


class Residents:
    """Finds the grant of an agent that calls the kernel itself, and remembers registrations in the store."""

    def __init__(self, granting: Grants, store: Store, *, anyone: bool = False) -> None:
        """`anyone` grants an agent that never registered all that policy allows: for a laptop only."""
        self._grants = granting
        self._store = store
        self._anyone = anyone

    async def grant(self, agent_id: str) -> grants.Grant:
        """Return what an agent may do; raises PolicyDenied where nobody knows it."""
        tenant, name = ids.parse_agent_id(agent_id)
        if found := self._grants.of(tenant, name):
            return found
        seen = await self._store.sighting(agent_id)
        if seen is not None and seen.registration:
            return self.compile(Registration.model_validate_json(seen.registration))
        if self._anyone:
            everything: Capabilities = dict.fromkeys(grants.CAPABILITIES, True)
            return self.compile(Registration(agent_id=agent_id, capabilities=everything))
        raise errors.PolicyDenied(
            f"{agent_id} is not known here: apply an Agent {name} in namespace {tenant}, or POST /v1/agent/register",
            rule="identity.registered",
        )

    def compile(self, registration: Registration) -> grants.Grant:
        """Return what a registration comes to under the policy in force."""
        agent = registration.agent()
        policy = self._grants.policy
        tools = self._grants.registry.tools.of(agent.namespace)
        return grants.compile(agent, tools, policy.bundle, revision=policy.revision)

    async def register(self, registration: Registration, *, now_ms: int) -> grants.Grant:
        """Remember a registration and return what it comes to; an Agent object of that id has the last word."""
        tenant, name = ids.parse_agent_id(registration.agent_id)
        own = self._grants.of(tenant, name)
        granted = own or self.compile(registration)
        sighting = Sighting(
            agent_id=registration.agent_id,
            tenant=tenant,
            name=name,
            via="hmac",
            heard_ms=now_ms,
            version=registration.version,
            registration="" if own else registration.model_dump_json(),
            policy_revision=granted.policy_revision,
        )
        await self._store.see(sighting, ttl_s=REGISTERED_S)
        return granted

    async def heartbeat(self, agent_id: str, *, now_ms: int, inflight: int, usage: dict[str, int | float]) -> None:
        """Note that an agent lives; raises PolicyDenied where it has to register first."""
        granted = await self.grant(agent_id)
        seen = await self._store.sighting(agent_id) or Sighting(
            agent_id, granted.tenant, granted.name, "hmac", now_ms, version=granted.version
        )
        now = replace(seen, heard_ms=now_ms, inflight=inflight, usage=usage, policy_revision=granted.policy_revision)
        await self._store.see(now, ttl_s=REGISTERED_S)


def named(body: bytes) -> str:
    """Return the agent that a syscall's body names, or ""; the router judges the body, this only peeks."""
    try:
        return _named.decode(body).agent_id
    except msgspec.DecodeError:
        return ""


class _Named(msgspec.Struct):
    agent_id: str = ""


_named = msgspec.json.Decoder(_Named)
