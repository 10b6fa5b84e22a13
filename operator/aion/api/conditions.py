"""Conditions: what a person and a tool read to know how an object fares. kstatus-conformant.

Apart because controller, kernel, CLI and the kinds' pages share types and reasons. Pure: time comes in. A condition's
message tells what happened and what to do; a reason is one of the constants below, each explained on its kind's page
in `crds/`. It must never become a phase: `Ready`, `Reconciling` and `Stalled` are separate truths.

The rules of kstatus that hold here: `Ready` is always there; `Reconciling` and `Stalled` are there only while true;
`Stalled` means that nothing but a change by a person helps; `observedGeneration` says which spec was judged.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Status = Literal["True", "False", "Unknown"]

# Types
ACCEPTED: Final = "Accepted"
SIGNATURE_VERIFIED: Final = "SignatureVerified"
POLICY_BOUND: Final = "PolicyBound"
PROFILE_READY: Final = "ProfileReady"
POD_SCHEDULED: Final = "PodScheduled"
GATEWAY_READY: Final = "GatewayReady"
READY: Final = "Ready"
SUSPENDED: Final = "Suspended"
PREEMPTED: Final = "Preempted"
TOOLS_FOUND: Final = "ToolsFound"
IN_USE: Final = "InUse"
RECONCILING: Final = "Reconciling"
STALLED: Final = "Stalled"

TYPES: Final = (
    ACCEPTED,
    SIGNATURE_VERIFIED,
    POLICY_BOUND,
    PROFILE_READY,
    POD_SCHEDULED,
    GATEWAY_READY,
    READY,
    SUSPENDED,
    PREEMPTED,
    TOOLS_FOUND,
    IN_USE,
    RECONCILING,
    STALLED,
)

# Reasons of good standing
VALID: Final = "Valid"
RUNNING: Final = "Running"
SERVING: Final = "Serving"
SCHEDULED: Final = "Scheduled"
BOUND: Final = "Bound"
PROFILE_INSTALLED: Final = "ProfileInstalled"
NAMED_BY_AGENTS: Final = "NamedByAgents"
ALL_FOUND: Final = "AllFound"

# Reasons while on the way
CREATING: Final = "Creating"
REPLACING: Final = "Replacing"
STARTING: Final = "Starting"
WAITING_FOR_PROFILE: Final = "WaitingForProfile"
WAITING_FOR_NODE: Final = "WaitingForNode"
PULLING_IMAGE: Final = "PullingImage"
WAITING_FOR_GATEWAY: Final = "WaitingForGateway"
TERMINATING: Final = "Terminating"
EVICTED: Final = "Evicted"
POD_PREEMPTED: Final = "PodPreempted"
NODE_LOST: Final = "NodeLost"
PROGRESSING: Final = "Progressing"
BY_REQUEST: Final = "ByRequest"

# Reasons that a person must act on
INVALID_SPEC: Final = "InvalidSpec"
SOURCE_NOT_FOUND: Final = "SourceNotFound"
SECRET_NOT_FOUND: Final = "SecretNotFound"  # noqa: S105 - a reason
PROFILE_NOT_FOUND: Final = "ProfileNotFound"
NAME_CONFLICT: Final = "NameConflict"
TOOL_NOT_FOUND: Final = "ToolNotFound"
UNSCHEDULABLE: Final = "Unschedulable"
RESOURCES_EXCEED_NODES: Final = "ResourcesExceedNodes"
PROFILE_NOT_ON_NODE: Final = "ProfileNotOnNode"
OUT_OF_MEMORY: Final = "OutOfMemory"
POD_FAILED: Final = "PodFailed"
IMAGE_UNAVAILABLE: Final = "ImageUnavailable"
CRASH_LOOP: Final = "CrashLoop"
ENTRY_NOT_FOUND: Final = "EntryNotFound"
ADMISSION_REFUSED: Final = "AdmissionRefused"
BAD_TOOL_FILE: Final = "BadToolFile"
QUOTA_EXCEEDED: Final = "QuotaExceeded"
TENANT_NAMESPACE_MISSING: Final = "TenantNamespaceMissing"
NOT_ACTIVE: Final = "NotActive"

REASONS: Final = frozenset(
    value for name, value in list(globals().items()) if name.isupper() and isinstance(value, str) and value not in TYPES
)

MAX_MESSAGE = 1024  # a condition is read in a terminal; the API server's own limit is 32768


@dataclass(frozen=True, slots=True)
class Condition:
    """One truth about an object, as of one generation of its spec."""

    type: str
    status: Status
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: str = ""

    def document(self) -> dict[str, Any]:
        """As it stands in `status.conditions`."""
        return {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message[:MAX_MESSAGE],
            "observedGeneration": self.observed_generation,
            "lastTransitionTime": self.last_transition_time,
        }


def true(kind: str, reason: str, message: str = "") -> Condition:
    """The condition that something is so."""
    return Condition(kind, "True", reason, message)


def false(kind: str, reason: str, message: str = "") -> Condition:
    """The condition that something is not so."""
    return Condition(kind, "False", reason, message)


def unknown(kind: str, reason: str, message: str = "") -> Condition:
    """The condition that nobody can tell."""
    return Condition(kind, "Unknown", reason, message)


def read(documents: Iterable[Mapping[str, Any]] | None) -> tuple[Condition, ...]:
    """Conditions as found in a status. What is malformed is left out: it will be written anew."""
    found = []
    for entry in documents or ():
        status = entry.get("status")
        if entry.get("type") and (status == "True" or status == "False" or status == "Unknown"):  # noqa: PLR1714 - narrows
            found.append(
                Condition(
                    str(entry["type"]),
                    status,
                    str(entry.get("reason", "")),
                    str(entry.get("message", "")),
                    int(entry.get("observedGeneration") or 0),
                    str(entry.get("lastTransitionTime", "")),
                )
            )
    return tuple(found)


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of one type, or None."""
    return next((condition for condition in conditions if condition.type == kind), None)


def is_true(conditions: Iterable[Condition], kind: str) -> bool:
    """Whether the condition of this type is there and True."""
    found = find(conditions, kind)
    return found is not None and found.status == "True"


def settle(
    wanted: Iterable[Condition], *, before: Iterable[Condition], generation: int, now: str
) -> tuple[Condition, ...]:
    """`wanted`, dated: the time of the last transition is kept where the status stayed, else it is `now` (RFC 3339).

    `Reconciling` and `Stalled` that are not True are left out, as kstatus expects. Sorted by the order of TYPES.
    """
    old = {condition.type: condition for condition in before}
    settled = []
    for condition in wanted:
        if condition.type in (RECONCILING, STALLED) and condition.status != "True":
            continue
        was = old.get(condition.type)
        since = was.last_transition_time if was and was.status == condition.status and was.last_transition_time else now
        message = condition.message[:MAX_MESSAGE]
        settled.append(Condition(condition.type, condition.status, condition.reason, message, generation, since))
    return tuple(sorted(settled, key=lambda condition: (_RANK.get(condition.type, len(TYPES)), condition.type)))


_RANK = {kind: rank for rank, kind in enumerate(TYPES)}
