"""A Tool's conditions, out of what its plan found. Pure.

A Tool is ready when one Pod of this very spec serves: a Pod of the spec before does not count, so that `kubectl wait` after a change waits for the
change. It must never call a Tool ready on the word of its Deployment alone, which counts Pods of the old spec too.
"""

from dataclasses import dataclass, replace

from aion.api import conditions
from aion.api.conditions import Condition
from aion.controller import diagnosis, readiness
from aion.controller.accept import Refusal
from aion.controller.diagnosis import Finding, Needs
from aion.controller.views import NodeView, PodView


@dataclass(frozen=True, slots=True)
class Standing:
    """How an accepted Tool stands: `pods` are those of this spec, `wanted` how many there should be."""

    pods: tuple[PodView, ...]
    wanted: int
    finding: Finding | None
    needs: Needs
    nodes: tuple[NodeView, ...]
    users: tuple[str, ...] = ()

    @property
    def ready(self) -> int:
        """How many serve."""
        return sum(pod.ready for pod in self.pods)


def of(standing: Standing) -> tuple[Condition, ...]:
    """Every condition of an accepted Tool but their times."""
    told = [conditions.true(conditions.ACCEPTED, conditions.VALID, "The spec is valid."), _profile(standing)]
    told += in_use(standing.users)
    finding = standing.finding
    if standing.wanted == 0:
        finding = Finding(conditions.BY_REQUEST, "spec.replicas is 0: no Pod runs, and calls fail. Raise it to serve.")
        told.append(conditions.true(conditions.SUSPENDED, finding.reason, finding.message))
    elif standing.ready and finding is not None:
        # Some serve and others do not yet: it is ready and at work at once.
        return (*told, *_ready(None, standing), readiness.doing(replace(finding, stuck=False)))
    elif not standing.ready and finding is None:
        finding = Finding(conditions.STARTING, "The Tool's Pods start.")
    return (*told, *_ready(finding, standing))


def in_use(users: tuple[str, ...]) -> tuple[Condition, ...]:
    """Which Agents name the Tool: deleting it would take it from them. The message changes only when the first three do."""
    if not users:
        return ()
    first = ", ".join(users[:3]) + (" and others" if len(users) > 3 else "")
    said = f"Named in spec.tools of {first}. Deleted, it is missing there: their condition ToolsFound says so."
    return (conditions.true(conditions.IN_USE, conditions.NAMED_BY_AGENTS, said),)


def refused(refusal: Refusal, *, serving: int, users: tuple[str, ...] = ()) -> tuple[Condition, ...]:
    """The conditions of a Tool whose spec is not accepted; `serving` Pods of its last good spec go on."""
    said = refusal.message
    if serving:
        said += f" Until then the last good spec serves, by {serving} Pod{'s' if serving > 1 else ''}."
    return (
        conditions.false(conditions.ACCEPTED, refusal.reason, refusal.message),
        *in_use(users),
        *readiness.of(Finding(refusal.reason, said, stuck=True), reason="", message=""),
    )


def _ready(finding: Finding | None, standing: Standing) -> tuple[Condition, ...]:
    said = f"{standing.ready} of {standing.wanted} Pods serve."
    return readiness.of(finding, reason=conditions.SERVING, message=said)


def _profile(standing: Standing) -> Condition:
    if any(pod.node for pod in standing.pods) or diagnosis.held_by(standing.needs.profile, standing.nodes):
        return conditions.true(conditions.PROFILE_READY, conditions.PROFILE_INSTALLED, "A node holds the profile.")
    missing = diagnosis.no_profile(standing.needs.profile)
    return conditions.false(conditions.PROFILE_READY, conditions.PROFILE_NOT_ON_NODE, missing.message)
