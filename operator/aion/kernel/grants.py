"""What each agent may do right now, compiled from the registry and the policy in force.

It stands apart from the channel so that a gateway in a Pod and a caller outside are granted by the same lines. It
must never grant more than `aion.api.granting.compile` gives, nor anything before every picture is complete and a policy
is in force.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from aion.api import errors, grant, granting
from aion.api.agent import Agent
from aion.api.policy import Bundle, digest
from aion.api.tool import Tool
from aion.kernel.registry import Key, Registry

REMEMBERED = 10_000
"""Compiled grants that are kept, some KiB each: a call from outside needs one, and compiling costs a millisecond."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The bundle in force. `revision` only rises."""

    bundle: Bundle
    revision: int
    digest: str

    @classmethod
    def of(cls, bundle: Bundle, *, revision: int) -> "Policy":
        """Return a bundle with its digest."""
        return cls(bundle, revision, digest(bundle))


@dataclass(frozen=True, slots=True)
class _Compiled:
    agent: Agent
    tools: tuple[Tool, ...]
    ceiling: tuple[tuple[str, ...] | None, str]
    policy: Policy
    grant: grant.Grant


class Grants:
    """Compiles grants; `backends` are those of the chart, by name; `set_policy` rings everyone's bell. Without a policy nothing is granted."""

    def __init__(
        self,
        registry: Registry,
        policy: Policy | None = None,
        *,
        backends: Mapping[str, grant.Backend] = MappingProxyType({}),
    ) -> None:
        self.registry = registry
        self._backends = backends
        self._policy = policy
        self._bound = asyncio.Event()
        self._compiled: dict[Key, _Compiled] = {}
        if policy is not None:
            self._bound.set()

    @property
    def policy(self) -> Policy | None:
        """The policy in force, None until there is one."""
        return self._policy

    def set_policy(self, policy: Policy) -> None:
        """Put a bundle in force."""
        self._policy = policy
        self._bound.set()
        self.registry.bells.ring_all()

    async def wait_ready(self) -> None:
        """Return when something can be granted: every picture was complete once, and a policy is in force."""
        await self.registry.wait_synced()
        await self._bound.wait()

    def in_force(self) -> Policy:
        """Return the policy in force; raises Unavailable until there is one."""
        if self._policy is None:
            raise errors.Unavailable("no policy is in force yet, so nothing is granted; retry", retry_after_ms=1000)
        return self._policy

    def of(self, tenant: str, name: str) -> grant.Grant | None:
        """Return what this Agent may do, or None where there is no such Agent; raises Unavailable without a policy."""
        agent = self.registry.agents.get(tenant, name)
        return None if agent is None else self.compile(agent)

    def compile(self, agent: Agent) -> grant.Grant:
        """Return what an Agent may do; compiled anew only when Agent, Tools, Tenant or policy are others than last time."""
        policy, tools = self.in_force(), self.registry.tools.of(agent.namespace)
        ceiling = self.registry.ceiling(agent.namespace), self.registry.ceiling_of(agent.namespace)
        key = (agent.namespace, agent.name)
        known = self._compiled.pop(key, None)
        if (
            known is None
            or known.agent is not agent
            or known.tools is not tools
            or known.ceiling != ceiling
            or known.policy is not policy
        ):
            most, whose = ceiling
            made = granting.compile(
                agent,
                tools,
                policy.bundle,
                revision=policy.revision,
                ceiling=most,
                ceiling_of=whose,
                backends=self._backends,
            )
            known = _Compiled(agent, tools, ceiling, policy, made)
        self._compiled[key] = known  # at the end: the one asked last is forgotten last
        if len(self._compiled) > REMEMBERED:
            del self._compiled[next(iter(self._compiled))]
        return known.grant
