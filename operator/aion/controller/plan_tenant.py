"""What should exist for one Tenant: the bounds of its namespace, and its keys. Pure.

The namespace is a person's: where it is missing nothing is made, and it is never deleted. A spec that is refused changes nothing: what bound the
namespace before binds it on. It must never open anything because something could not be read.
"""

from datetime import datetime

from aion.api import conditions
from aion.api.shape import InvalidManifest
from aion.api.tenant import Tenant
from aion.controller import outcome, readiness, render_tenant, rotation
from aion.controller.diagnosis import Finding
from aion.controller.outcome import Outcome
from aion.controller.plan import Plan, Rekey, mark, present
from aion.controller.settings import Settings
from aion.controller.store import Observed
from aion.controller.views import RootView


def plan(seen: Observed, *, settings: Settings, now: datetime) -> Plan:
    """Decide for one Tenant."""
    root = seen.root
    if root is None or root.deleting:
        return Plan(outcome=outcome.Gone() if root is None else outcome.Done())
    kept = {name: root.status[name] for name in ("keyRevision", "keys") if name in root.status}
    try:
        tenant = Tenant.from_cluster(root.document)
    except InvalidManifest as error:
        said = "; ".join(f"{path}: {what}" if path else what for path, what in error.problems)
        return _stuck(
            conditions.INVALID_SPEC, f"{said}. Until it is changed, what bound the namespace binds it on.", kept
        )
    if seen.namespace is None or seen.namespace.deleting:
        said = f"There is no namespace {root.key.name}, or it is being deleted. Create it: `kubectl create namespace {root.key.name}`."
        accepted = conditions.true(conditions.ACCEPTED, conditions.VALID, "The spec is valid.")
        ready = readiness.of(Finding(conditions.TENANT_NAMESPACE_MISSING, said, stuck=True), reason="", message="")
        return Plan(conditions=(accepted, *ready), outcome=outcome.Stalled(said))
    return _bound(tenant, root, seen, settings=settings, now=now)


def _bound(tenant: Tenant, root: RootView, seen: Observed, *, settings: Settings, now: datetime) -> Plan:
    name, spec = tenant.name, tenant.spec
    wanted = render_tenant.children(name, spec, uid=root.uid, settings=settings)
    kinds = {document["kind"] for document in wanted}
    apply = [document for document in wanted if not present(mark(document), seen.children)]
    if seen.namespace is not None and not render_tenant.namespace_labels(name, spec).items() <= seen.namespace.labels:
        apply.insert(0, render_tenant.namespace(name, spec))
    turn = rotation.turn(
        rotation.read(root.status.get("keys")),
        revision=int(root.status.get("keyRevision") or 0),
        wanted=spec.auth.key_revision,
        now=now,
    )
    said = f"Namespace {name} is bound, and enforces Pod Security {spec.pod_security}."
    return Plan(
        prune=tuple(child for child in seen.children if child.kind == "ResourceQuota" and child.kind not in kinds),
        apply=tuple(apply),
        keys_in=name if apply or turn.make or not root.status.get("keys") else "",
        rekey=Rekey(name, make=turn.make, drop=turn.drop) if turn.make or turn.drop else None,
        conditions=(
            conditions.true(conditions.ACCEPTED, conditions.VALID, "The spec is valid."),
            *readiness.of(None, reason=conditions.VALID, message=said),
        ),
        facts={"keyRevision": turn.revision, "keys": [key.document() for key in turn.keys]},
        outcome=_outcome(turn.again),
    )


def _outcome(again: float | None) -> Outcome:
    return outcome.Done() if again is None else outcome.After(max(again, 0.1))


def _stuck(reason: str, said: str, kept: dict[str, object]) -> Plan:
    told = (
        conditions.false(conditions.ACCEPTED, reason, said),
        *readiness.of(Finding(reason, said, stuck=True), reason="", message=""),
    )
    return Plan(conditions=told, facts=kept, outcome=outcome.Stalled(said))
