"""The pointer to the policy in force: `status.active` of Policy `aion` in the release namespace.

The bundle comes as a file, whose ConfigMap is immutable and named by its digest; the pointer is one object, moved by compare-and-swap, and its
revision only rises: installing an older bundle again is a new revision with an old digest. Kernel and gateways follow the pointer by their own
watch, so a change of policy restarts nothing. Of the controllers only one runs at a time, or two bundles would chase each other.
It must never point at a bundle that was not read and verified, and never lower a revision.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from aion.api import conditions, policy
from aion.api.shape import InvalidManifest
from aion.controller import binding, diagnosis, outcome, readiness
from aion.controller.binding import Held
from aion.controller.diagnosis import Finding
from aion.controller.plan import Plan
from aion.controller.store import Observed
from aion.controller.views import Key

MAX_BUNDLE = 1 << 20  # a ConfigMap holds no more


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why there is no bundle, for a person."""

    message: str


Source = Callable[[], Held | Unusable]


class BundleFile:
    """The mounted bundle. Read again each time, parsed only when its bytes differ."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._last: tuple[bytes, Held | Unusable] | None = None

    def __call__(self) -> Held | Unusable:
        """The bundle as it is now."""
        if not self._path:
            return Unusable("AION_POLICY_FILE is not set: this installation has no policy bundle.")
        try:
            with Path(self._path).open("rb") as file:
                data = file.read(MAX_BUNDLE + 1)
        except OSError as error:
            return Unusable(
                f"{self._path} cannot be read: {error.strerror}. Mount the ConfigMap of the policy bundle there."
            )
        if self._last is None or self._last[0] != data:
            self._last = data, parse(data, name=self._path)
        return self._last[1]


def parse(data: bytes, *, name: str) -> Held | Unusable:
    """Verify a bundle."""
    if len(data) > MAX_BUNDLE:
        return Unusable(f"{name}: got more than {MAX_BUNDLE} bytes, expected a policy bundle of at most that.")
    try:
        bundle = policy.Bundle.from_document(json.loads(data))
    except InvalidManifest as error:
        return Unusable(f"{name}: {error}. Correct the chart's `policy` value and upgrade the release.")
    except ValueError as error:
        return Unusable(f"{name}: got something that is not JSON ({error}), expected a policy bundle.")
    return Held(bundle, policy.digest(bundle))


def plan(seen: Observed, *, source: Held | Unusable, pointer: Key, now: datetime) -> Plan:
    """Decide for one Policy: where its pointer should point, and what it says about itself."""
    root = seen.root
    if root is None or root.deleting:
        return Plan(outcome=outcome.Gone() if root is None else outcome.Done())
    if root.key != pointer:
        said = f"Only Policy {pointer.name} in namespace {pointer.namespace} counts; this one changes nothing."
        told = readiness.of(Finding(conditions.NOT_ACTIVE, said, stuck=True), reason="", message="")
        return Plan(conditions=told, outcome=outcome.Stalled(said))
    now_active = binding.active(root)
    kept = {"active": now_active.document()} if now_active else {}
    if isinstance(source, Unusable):
        stays = f" Revision {now_active.revision} stays in force." if now_active else " No policy is in force."
        told = (
            conditions.false(conditions.ACCEPTED, conditions.INVALID_SPEC, source.message),
            *readiness.of(Finding(conditions.INVALID_SPEC, source.message + stays, stuck=True), reason="", message=""),
        )
        return Plan(conditions=told, facts=kept, outcome=outcome.Stalled(source.message))
    if now_active is None or now_active.digest != source.digest:
        now_active = policy.Pointer(
            revision=(now_active.revision if now_active else 0) + 1,
            digest=source.digest,
            config_map=policy.config_map_name(source.digest),
            since=diagnosis.stamp(now),
        )
    said = f"Revision {now_active.revision}: {now_active.config_map} is in force."
    told = (
        conditions.true(conditions.ACCEPTED, conditions.VALID, "The bundle is valid."),
        *readiness.of(None, reason=conditions.BOUND, message=said),
    )
    return Plan(conditions=told, facts={"active": now_active.document()})
