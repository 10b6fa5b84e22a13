"""What the kernel shows of agents and policy to those who ask.

It stands apart from `routes` (who may ask) because these are pure: sightings, Agent objects and a bundle in, the answer
out. It must never show one tenant what a rule says about another.
"""

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, Field

from aion.api import event, grant
from aion.api.agent import Agent
from aion.kernel.grants import Policy
from aion.kernel.store import Sighting


class AgentView(BaseModel):
    """One agent, as the kernel knows it."""

    agent_id: str
    tenant: str
    name: str
    version: str
    state: Literal["live", "silent"] = Field(description="live: heard lately, by any replica")
    via: str = Field("", description="gateway (in a Pod) or hmac (outside the cluster); empty where never heard")
    pod: str = ""
    last_heartbeat: str | None = Field(None, description="RFC 3339")
    inflight: int = 0
    usage: dict[str, int | float] = Field(default_factory=dict)
    policy_revision: int = 0


class AgentList(BaseModel):
    """`GET /v1/agents`, ordered by id."""

    agents: list[AgentView]


class PolicyView(BaseModel):
    """`GET /v1/policy/current`. `whole` is false where rules about other tenants were left out."""

    revision: int
    digest: str
    whole: bool
    bundle: dict[str, object]


class GrantView(BaseModel):
    """What an agent may do now: the answer to register and heartbeat."""

    agent_id: str
    tenant: str
    capabilities: list[str]
    syscalls: list[str]
    tools: list[str]
    refused: dict[str, str] = Field(description="what was asked for and is not given -> the rule that took it away")
    policy_revision: int
    policy_digest: str


def agents(sightings: Iterable[Sighting], declared: Iterable[Agent], *, tenant: str | None) -> AgentList:
    """Return every agent that was heard or that has an Agent object, of one tenant or of all."""
    seen = {each.agent_id: _seen(each) for each in sightings if tenant in (None, each.tenant)}
    for agent in declared:
        if agent.id not in seen and tenant in (None, agent.namespace):
            seen[agent.id] = AgentView(
                agent_id=agent.id, tenant=agent.namespace, name=agent.name, version=agent.spec.version, state="silent"
            )
    return AgentList(agents=[seen[agent_id] for agent_id in sorted(seen)])


def _seen(sighting: Sighting) -> AgentView:
    return AgentView(
        agent_id=sighting.agent_id,
        tenant=sighting.tenant,
        name=sighting.name,
        version=sighting.version,
        state="live",
        via=sighting.via,
        pod=sighting.pod,
        last_heartbeat=event.timestamp(sighting.heard_ms),
        inflight=sighting.inflight,
        usage=sighting.usage,
        policy_revision=sighting.policy_revision,
    )


def policy(of: Policy, *, tenant: str | None) -> PolicyView:
    """Return the policy in force: whole for an operator, for a tenant as far as it concerns that tenant."""
    document: dict[str, object] = of.bundle.document()
    if tenant is None:
        return PolicyView(revision=of.revision, digest=of.digest, whole=True, bundle=document)
    rules, capabilities = document.get("capabilities"), of.bundle.capabilities
    if isinstance(rules, dict):
        own = {key: value for key, value in rules.items() if key not in {"by_tenant", "by_tool"}}
        if tenant in capabilities.by_tenant:
            own["by_tenant"] = {tenant: capabilities.by_tenant[tenant].model_dump(mode="json", exclude_unset=True)}
        if capabilities.by_tool:
            refused = {tool for tool in capabilities.by_tool if capabilities.refuse_tool(tool, tenant=tenant)}
            own["by_tool"] = {
                tool: {"deny": [tenant]} if tool in refused else {"allow": [tenant]} for tool in capabilities.by_tool
            }
        document = {**document, "capabilities": own}
    return PolicyView(revision=of.revision, digest=of.digest, whole=False, bundle=document)


def granted(of: grant.Grant) -> GrantView:
    """Return a grant without what only a gateway needs."""
    return GrantView(
        agent_id=of.agent_id,
        tenant=of.tenant,
        capabilities=list(of.capabilities),
        syscalls=list(of.syscalls),
        tools=[tool.name for tool in of.tools],
        refused=dict(of.refused),
        policy_revision=of.policy_revision,
        policy_digest=of.policy_digest,
    )
