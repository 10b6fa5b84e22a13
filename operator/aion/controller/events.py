"""Events for people: that an object got stuck and why, and that it got going again. Pure.

Apart because a condition says what is, and an Event that it happened: `kubectl describe` and alerts show both. The ordinary way of an Agent, from
creation to readiness, is told by no Event: each is one more write. One transition is one Event, whoever tells it: its name is made of what it
says and when, so a second one is refused as a double. It must never be waited for, nor decide anything.
"""

from datetime import UTC, datetime

from aion.api import conditions, labels
from aion.api.conditions import Condition
from aion.controller.sealed import Document
from aion.controller.views import RootView, digest

MAX_NOTE = 1024  # the API server's own limit
NOWHERE = "default"  # where Events of cluster-scoped objects live, by Kubernetes' own custom


def of(root: RootView, status: Document, *, now: datetime) -> Document | None:
    """The Event for the step from the status that `root` shows to the new one; None where nothing happened that a person must know."""
    before = conditions.read(root.status.get("conditions"))
    after = conditions.read(status["status"]["conditions"])
    was, now_stuck = conditions.find(before, conditions.STALLED), conditions.find(after, conditions.STALLED)
    if now_stuck is not None and (was is None or was.reason != now_stuck.reason):
        return _document(root, now_stuck, kind="Warning", now=now)
    ready = conditions.find(after, conditions.READY)
    if was is not None and ready is not None and ready.status == "True":
        return _document(root, ready, kind="Normal", now=now)
    return None


def _document(root: RootView, said: Condition, *, kind: str, now: datetime) -> Document:
    key = root.key
    meaning = [root.uid, said.type, said.reason, said.last_transition_time, said.message]
    regarding = {"apiVersion": labels.API_VERSION, "kind": key.kind, "name": key.name, "uid": root.uid}
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{key.name}.{digest(meaning)}", "namespace": key.namespace or NOWHERE},
        "eventTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": f"{labels.GROUP}/controller",
        "reportingInstance": labels.CONTROLLER,
        "action": "Reconcile",
        "regarding": {**regarding, **({"namespace": key.namespace} if key.namespace else {})},
        "reason": said.reason,
        "note": said.message[:MAX_NOTE],
        "type": kind,
    }
