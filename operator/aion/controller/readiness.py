"""Ready, Reconciling and Stalled out of one finding, by the rules of kstatus. Pure.

Apart because every kind says it alike, and so does a refused write. Ready is always said; of the other two at most one, and only while true.
"""

from aion.api import conditions
from aion.api.conditions import Condition
from aion.controller.diagnosis import Finding


def of(finding: Finding | None, *, reason: str, message: str) -> tuple[Condition, ...]:
    """`finding` is what keeps the object from being ready; `reason` and `message` are of Ready where nothing does."""
    if finding is None:
        return (conditions.true(conditions.READY, reason, message),)
    ready = conditions.false(conditions.READY, finding.reason, finding.message)
    if finding.reason == conditions.BY_REQUEST:  # at rest, as was asked: neither at work nor stuck
        return (ready,)
    return ready, doing(finding)


def doing(finding: Finding) -> Condition:
    """We are at work on it, or a person must be."""
    return conditions.true(
        conditions.STALLED if finding.stuck else conditions.RECONCILING, finding.reason, finding.message
    )
