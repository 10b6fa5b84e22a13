"""The status document of a root object, where there is something new to say. Pure.

Apart from what the conditions mean: here they get their times and are compared. Two statuses that differ only in times are the same, and the
status that is there is left alone then: an idle cluster sees no write of ours. It must never name a field that another component writes.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aion.api import conditions
from aion.api.conditions import Condition
from aion.controller import diagnosis
from aion.controller.plan import Plan
from aion.controller.sealed import Document
from aion.controller.views import RootView


def document(root: RootView, plan: Plan, *, now: datetime) -> Document | None:
    """What to apply to the status subresource; None where it says the same already, or the plan says nothing."""
    if not plan.conditions:
        return None
    before = conditions.read(root.status.get("conditions"))
    settled = conditions.settle(plan.conditions, before=before, generation=root.generation, now=diagnosis.stamp(now))
    wanted: Document = {
        "observedGeneration": root.generation,
        "conditions": [condition.document() for condition in settled],
        **plan.facts,
    }
    if _meaning(wanted, settled) == _meaning(root.status, before):
        return None
    meta = {"name": root.key.name, **({"namespace": root.key.namespace} if root.key.namespace else {})}
    frame = {"apiVersion": root.document["apiVersion"], "kind": root.key.kind, "metadata": meta}
    return {**frame, "status": wanted}


def facts(root: RootView) -> Mapping[str, Any]:
    """What we said last, but for the conditions."""
    return {name: value for name, value in root.status.items() if name not in ("conditions", "observedGeneration")}


def _meaning(said: Mapping[str, Any], told: tuple[Condition, ...]) -> tuple[object, ...]:
    """What a reader would notice; conditions by type, without the one that the scheduler says."""
    plain = {name: value for name, value in said.items() if name != "conditions"}
    ours = {
        each.type: (each.status, each.reason, each.message, each.observed_generation)
        for each in told
        if each.type != conditions.PREEMPTED
    }
    return plain, ours
