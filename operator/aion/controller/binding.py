"""Which policy binds an Agent, and what is left of its wishes under it. Pure.

Apart from the Agent's other conditions because it alone reads the bundle. The gateway enforces; here it is only said, by the same compiling of
the same bundle. It must never keep a Pod from being made: an Agent without a policy may do nothing, which is safe.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aion.api import conditions, granting, policy
from aion.api.agent import Agent
from aion.api.conditions import Condition
from aion.controller.views import RootView


@dataclass(frozen=True, slots=True)
class Held:
    """The bundle that this controller was given, and its digest."""

    bundle: policy.Bundle
    digest: str


@dataclass(frozen=True, slots=True)
class Binding:
    """What the Agent's status says about policy; `facts` are status fields."""

    condition: Condition
    facts: Mapping[str, Any] = field(default_factory=dict)


def active(holder: RootView | None) -> policy.Pointer | None:
    """The pointer of a Policy; None where there is none, or none that can be read."""
    found = holder.status.get("active") if holder else None
    if not isinstance(found, Mapping) or not found.get("digest"):
        return None
    return policy.Pointer(
        revision=int(found.get("revision") or 0),
        digest=str(found["digest"]),
        config_map=str(found.get("configMap") or ""),
        since=str(found.get("since") or ""),
    )


def of(
    agent: Agent,
    *,
    holder: RootView | None,
    held: Held | None,
    ceiling: tuple[str, ...] | None = None,
    ceiling_of: str = granting.TENANTS,
) -> Binding:
    """Bind the Agent by the active policy, below its Tenant's ceiling, or the chart's."""
    pointer = active(holder)
    if pointer is None:
        said = "No policy is in force yet, so the gateway allows nothing: Policy `aion` in the release namespace has no status.active."
        return Binding(conditions.false(conditions.POLICY_BOUND, conditions.NOT_ACTIVE, said))
    facts: dict[str, Any] = {"effectivePolicy": {"revision": pointer.revision, "digest": pointer.digest}}
    if held is None or held.digest != pointer.digest:
        said = (
            f"Revision {pointer.revision} points at {pointer.config_map}, a bundle that this controller does not hold."
        )
        return Binding(conditions.unknown(conditions.POLICY_BOUND, conditions.NOT_ACTIVE, said), facts)
    granted = granting.compile(
        agent, (), held.bundle, revision=pointer.revision, ceiling=ceiling, ceiling_of=ceiling_of
    )
    facts["effectiveCapabilities"] = [*granted.capabilities, *granted.syscalls]
    taken = [
        granted.refused[f"capability:{name}"]
        for name in agent.spec.capabilities.asked()
        if name not in granted.capabilities
    ]
    # A syscall that the spec names, and no pattern, is asked for as much as a capability.
    taken += [
        granted.refused[f"syscall:{name}"]
        for name in agent.spec.capabilities.syscalls
        if f"syscall:{name}" in granted.refused
    ]
    said = f"Revision {pointer.revision}, {pointer.config_map}."
    if taken:
        said += f" It takes away what the spec asks for: {'; '.join(taken)}."
    return Binding(conditions.true(conditions.POLICY_BOUND, conditions.BOUND, said), facts)
