"""An Agent's conditions, out of what its plan found. Pure.

Apart from the plan, which decides what to do; here is only what to say. `Ready` is the kubelet's word, never ours: True only when the Pod is.
It must never say Reconciling and Stalled at once, nor leave out Ready.
"""

from collections.abc import Collection
from dataclasses import dataclass

from aion.api import conditions
from aion.api.conditions import Condition
from aion.controller import diagnosis, readiness
from aion.controller.accept import Refusal
from aion.controller.diagnosis import Finding, Needs
from aion.controller.views import NodeView, PodView


@dataclass(frozen=True, slots=True)
class Standing:
    """How an accepted Agent stands: `finding` is what keeps it from being ready, None where nothing does."""

    pod: PodView | None
    finding: Finding | None
    needs: Needs
    nodes: tuple[NodeView, ...]
    suspended: bool
    bound: Condition
    tools_found: Condition | None = None


def of(standing: Standing) -> tuple[Condition, ...]:
    """Every condition of an accepted Agent but their times."""
    accepted = conditions.true(conditions.ACCEPTED, conditions.VALID, "The spec is valid.")
    told = [accepted, standing.bound, _profile(standing), *_placed(standing.pod), *_gateway(standing)]
    told += [standing.tools_found] if standing.tools_found else []
    if standing.suspended:
        told.append(conditions.true(conditions.SUSPENDED, conditions.BY_REQUEST, _SUSPENDED))
    return (*told, *readiness.of(standing.finding, reason=conditions.RUNNING, message=_running(standing.pod)))


def refused(refusal: Refusal, *, running: PodView | None) -> tuple[Condition, ...]:
    """The conditions of an Agent whose spec is not accepted; `running` is the Pod of its last good spec."""
    said = refusal.message
    if running is not None:
        said += f" Until then Pod {running.name} of the last good spec runs on."
    return (
        conditions.false(conditions.ACCEPTED, refusal.reason, refusal.message),
        *readiness.of(Finding(refusal.reason, said, stuck=True), reason="", message=""),
    )


def tools(named: tuple[str, ...] | None, there: Collection[str]) -> Condition | None:
    """Whether the Tools that spec.tools names exist; None where it names none. An Agent runs without them, and is told at each call."""
    if not named:
        return None
    missing = [name for name in named if name not in there]
    if not missing:
        return conditions.true(conditions.TOOLS_FOUND, conditions.ALL_FOUND, "Every Tool of spec.tools exists.")
    said = f"spec.tools names {', '.join(missing)}, and the namespace has no such Tool. Create it, or take the name out: calls end with E_NO_TOOL."
    return conditions.false(conditions.TOOLS_FOUND, conditions.TOOL_NOT_FOUND, said)


_SUSPENDED = "spec.operatingMode is Suspended: no Pod runs. Set it to Running to resume."


def _running(pod: PodView | None) -> str:
    return f"Pod {pod.name} runs on node {pod.node}." if pod else ""


def _profile(standing: Standing) -> Condition:
    """A Pod that found a node found the profile there; before, any node that holds it will do."""
    if standing.finding is not None and standing.finding.reason == conditions.PROFILE_NOT_ON_NODE:
        return conditions.false(conditions.PROFILE_READY, conditions.PROFILE_NOT_ON_NODE, standing.finding.message)
    if standing.pod is not None and standing.pod.node:
        return conditions.true(
            conditions.PROFILE_READY, conditions.PROFILE_INSTALLED, "The profile is on the Pod's node."
        )
    if diagnosis.held_by(standing.needs.profile, standing.nodes):
        return conditions.true(conditions.PROFILE_READY, conditions.PROFILE_INSTALLED, "A node holds the profile.")
    missing = diagnosis.no_profile(standing.needs.profile)
    return conditions.false(conditions.PROFILE_READY, conditions.PROFILE_NOT_ON_NODE, missing.message)


def _placed(pod: PodView | None) -> tuple[Condition, ...]:
    """The scheduler's word on the Pod, once it has one."""
    said = pod.condition("PodScheduled") if pod else None
    if pod is None or said is None:
        return ()
    if said.status == "True":
        return (conditions.true(conditions.POD_SCHEDULED, conditions.SCHEDULED, f"On node {pod.node}."),)
    return (conditions.false(conditions.POD_SCHEDULED, conditions.UNSCHEDULABLE, said.message or said.reason),)


def _gateway(standing: Standing) -> tuple[Condition, ...]:
    """The gateway's own readiness; while it has none, what keeps the whole Pod keeps it."""
    if standing.suspended:
        return ()
    seen = standing.pod.container("gateway") if standing.pod else None
    if standing.finding is None or (seen is not None and seen.ready):
        return (conditions.true(conditions.GATEWAY_READY, conditions.SERVING, "The gateway serves."),)
    return (conditions.false(conditions.GATEWAY_READY, standing.finding.reason, standing.finding.message),)
