"""What the API server's refusal of a child means for its root. Pure.

Apart because the same sentence reaches us on two ways: as the answer to our own write, and through a Deployment whose controller was refused.
The server's words are kept: they name the quota, the policy or the field. It must never call a refusal final that others can lift.
"""

from collections.abc import Iterable

from aion.api import conditions
from aion.api.conditions import Condition
from aion.controller import readiness
from aion.controller.diagnosis import Finding

_TOLD_ANEW = frozenset({conditions.READY, conditions.RECONCILING, conditions.STALLED})

_ADVICE = (
    ("violates PodSecurity", "Pods of AION-OS fit into `restricted`: look what spec.podTemplate adds, or which label of the namespace asks for more."),
    ("ValidatingAdmissionPolicy", "That policy says what it wants: change the spec, or ask whoever keeps the policy; this is tried again every minute."),
    ("failed calling webhook", "That webhook does not answer: mend or remove it (`kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations`); this is tried again every minute."),
    ("admission webhook", "That webhook says what it wants: change the spec, or ask whoever keeps it; this is tried again every minute."),
    ("usage per ", "A LimitRange of the namespace bounds spec.resources: change one of the two; this is tried again every minute."),
    ("no PriorityClass", "Make it: the chart does, where priorityClasses.create is true; this is tried again every minute."),
)  # fmt: skip
_OTHERWISE = "Change what it names; this is tried again every minute."


def finding(message: str) -> Finding:
    """Read the server's sentence."""
    if "exceeded quota" in message or "status unknown for quota" in message:
        said = f"The namespace's quota leaves no room: {message}. Raise it, or free some; this is tried again every minute."
        return Finding(conditions.QUOTA_EXCEEDED, said)
    if "Only one reference can have Controller set to true" in message:
        said = f"An object of the name that is needed belongs to something else: {message}. Rename it, or this."
        return Finding(conditions.NAME_CONFLICT, said, stuck=True)
    advice = next((told for words, told in _ADVICE if words in message), _OTHERWISE)
    return Finding(
        conditions.ADMISSION_REFUSED, f"The API server refuses it: {message.rstrip('. ')}. {advice}", stuck=True
    )


def told(before: Iterable[Condition], message: str) -> tuple[Condition, ...]:
    """The conditions of a plan whose children were refused."""
    kept = tuple(condition for condition in before if condition.type not in _TOLD_ANEW)
    return (*kept, *readiness.of(finding(message), reason="", message=""))
