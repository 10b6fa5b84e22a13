"""What took a Pod away that ran well: an eviction, a more urgent Pod, a node that is gone. Pure.

Apart from `diagnosis`, which reads why a Pod does not come up; here the Pod was up, and its cause stands in other places: the condition
DisruptionTarget, the Pod's own reason, the state of its node. Each ends by itself, so nothing here stalls an object: the Pod is made again, and the
sentence says what would keep it from happening again. It must never take a deletion by a person for a disruption.
"""

from collections.abc import Sequence

from aion.api import conditions
from aion.controller.diagnosis import Finding
from aion.controller.views import NodeView, PodView

_NO_ROOM = frozenset({"OutOfcpu", "OutOfmemory", "OutOfpods", "OutOfnvidia.com/gpu"})


def failed(pod: PodView) -> Finding:
    """The Pod ended as a whole: evicted, refused by its kubelet, or its node shut down."""
    if pod.reason == "Evicted":
        return _evicted(pod, pod.message)
    if (target := _target(pod)) is not None:
        return target
    cause = ": ".join(part for part in (pod.reason, pod.message) if part) or "no reason was given"
    said = f"Pod {pod.name} ended{_where(pod)} ({cause.rstrip('.')}). It is replaced."
    if pod.reason in _NO_ROOM:
        said += " The node had filled up between the scheduler's choice and the kubelet's; if it lasts, lower spec.resources or add a node."
    return Finding(conditions.POD_FAILED, said)


def ending(pod: PodView, *, nodes: Sequence[NodeView]) -> Finding:
    """The Pod is told to stop, and another follows when it has."""
    told = lost(pod, nodes=nodes) or _target(pod)
    if told is not None:
        return told
    return Finding(conditions.TERMINATING, f"Pod {pod.name} is being stopped, and made again once it has gone.")


def lost(pod: PodView, *, nodes: Sequence[NodeView]) -> Finding | None:
    """The Pod's node does not answer, or is no more; None where it answers. While nobody can tell whether the Pod runs, no second one is made."""
    if not pod.node or not nodes:  # it has none yet, or nothing is known of any
        return None
    node = next((node for node in nodes if node.name == pod.node), None)
    if node is None:
        return _gone(pod)
    if node.ready:
        return None
    return Finding(
        conditions.NODE_LOST,
        f"Node {pod.node} does not answer, and nobody can tell whether Pod {pod.name} still runs there. It is made again when the node is back, "
        f"or out of the cluster: repair it, or `kubectl delete node {pod.node}`.",
    )


def _target(pod: PodView) -> Finding | None:
    """What the condition DisruptionTarget says, in the words of those who take Pods away."""
    told = pod.condition("DisruptionTarget")
    if told is None or told.status != "True":
        return None
    if told.reason == "PreemptionByScheduler":
        return Finding(
            conditions.POD_PREEMPTED,
            f"Pod {pod.name} gave its place{_where(pod)} to one of a higher PriorityClass. It is made again and waits for room: "
            "raise spec.priority, or add a node.",
        )
    if told.reason == "DeletionByPodGC":
        return _gone(pod)
    return _evicted(pod, told.message or told.reason)


def _evicted(pod: PodView, cause: str) -> Finding:
    why = cause.strip().rstrip(".") or "no cause was given"
    said = f"Pod {pod.name} was evicted{_where(pod)}: {why}. It is made again, elsewhere where there is room."
    if "low on resource" in cause:
        said += " The node runs short: ask for what the Pod really uses (spec.resources), or add a node."
    return Finding(conditions.EVICTED, said)


def _gone(pod: PodView) -> Finding:
    return Finding(
        conditions.NODE_LOST,
        f"Node {pod.node} is no more in the cluster, and Pod {pod.name} with it. It is made again, on another node.",
    )


def _where(pod: PodView) -> str:
    return f" on node {pod.node}" if pod.node else ""
