"""What an Agent may say about its Pod beside what AION-OS renders.

Apart from the Agent because a security reviewer reads it alone: it is the whole of what a person may add to a sealed
Pod. It must never take a field that weakens confinement (volumes, security contexts, further containers), nor a secret.
"""

from typing import Annotated, Literal

from pydantic import Field

from aion.api import fields
from aion.api.shape import Matching, Rule, Shape

_FORBIDDEN_ANNOTATIONS = (
    "aion.os/",
    "container.apparmor.security.beta.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
    "seccomp.security.alpha.kubernetes.io/",
    "io.kubernetes.cri-o.",
    "k8s.v1.cni.cncf.io/",
)
_FORBIDDEN_LABELS = ("aion.os/", "app.kubernetes.io/managed-by", "pod-security.kubernetes.io/")
_FORBIDDEN_ENV = ("AION_", "NVIDIA_", "LD_")


def _no_prefix(forbidden: tuple[str, ...], what: str) -> Rule:
    words = ", ".join(f"'{prefix}'" for prefix in forbidden)
    return Rule(
        cel=f"!self.exists(key, [{words}].exists(word, key.startsWith(word)))",
        message=f"{what} must not begin with {', '.join(forbidden)}: those are AION-OS's own, or weaken confinement",
        holds=lambda given: not any(key.startswith(forbidden) for key in given),
    )


_ENV_RULE = Rule(
    cel="!self.exists(item, ['AION_', 'NVIDIA_', 'LD_'].exists(word, item.name.startsWith(word)))",
    message="env names must not begin with AION_, NVIDIA_ or LD_: those are the launcher's",
    holds=lambda given: not any(item.name.startswith(_FORBIDDEN_ENV) for item in given),
)


class EnvVar(Shape):
    """A plain environment variable of the agent. Secrets have no place here."""

    name: Annotated[str, Field(max_length=128), Matching("^[A-Za-z_][A-Za-z0-9_]*$", "a name of letters, digits and _")]
    """The variable. Names that begin with `AION_`, `NVIDIA_` or `LD_` are refused."""
    value: Annotated[str, Field(max_length=4096)] = ""
    """Its value, as it is: nothing in it is expanded."""


class LocalReference(Shape):
    """An object of the same namespace."""

    name: fields.DnsSubdomain
    """The object's name."""


class Toleration(Shape):
    """A taint that the Pod tolerates, as in a Pod's spec."""

    key: fields.LabelKey = ""
    """The taint's key. Empty, with operator Exists: every taint."""
    operator: Literal["Exists", "Equal"] | None = None
    """How the value is compared; `Equal` where nothing is said."""
    value: fields.LabelValue = ""
    """The taint's value; none with operator Exists."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect; every effect where nothing is said."""
    toleration_seconds: Annotated[int, Field(ge=0, le=315_360_000)] | None = None
    """How long the Pod stays on a node that gets such a taint, with effect NoExecute; for ever where nothing is said."""

    rules = (
        Rule(
            cel="(has(self.operator) && self.operator == 'Exists') ? (!has(self.value) || self.value == '') "
            ": (has(self.key) && self.key != '')",
            message="operator Exists takes no value, and Equal needs a key",
            holds=lambda given: given.value == "" if given.operator == "Exists" else given.key != "",
        ),
        Rule(
            cel="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            message="tolerationSeconds goes with effect NoExecute",
            holds=lambda given: given.toleration_seconds is None or given.effect == "NoExecute",
        ),
    )


class PodTemplate(Shape):
    """What the agent's Pod may say beside what AION-OS renders. Nothing here weakens confinement."""

    labels: Annotated[fields.LabelMap, _no_prefix(_FORBIDDEN_LABELS, "labels")] = Field(default_factory=dict)
    """Labels of the Pod, beside those of AION-OS."""
    annotations: Annotated[fields.AnnotationMap, _no_prefix(_FORBIDDEN_ANNOTATIONS, "annotations")] = Field(
        default_factory=dict
    )
    """Annotations of the Pod."""
    node_selector: fields.LabelMap = Field(default_factory=dict)
    """Labels that the Pod's node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32), fields.AS_ATOM] = ()
    """Taints that the Pod tolerates."""
    affinity: fields.AnyObject = Field(default_factory=dict)
    """A Pod's `affinity`, as Kubernetes has it. The node with the agent's profile is required beside it."""
    image_pull_secrets: Annotated[
        tuple[LocalReference, ...], Field(max_length=16), fields.UNIQUE_NAMES, fields.as_map("name")
    ] = ()
    """Secrets of the namespace with which images are pulled."""
    env: Annotated[
        tuple[EnvVar, ...], Field(max_length=128), fields.UNIQUE_NAMES, fields.as_map("name"), _ENV_RULE
    ] = ()
    """Plain variables of the agent's container. Never a secret: everyone who may read the Agent reads them."""
    tunnel: bool = True
    """Programs that open TCP are given a way by the gateway's egress, by a library preloaded into them. `false`: not loaded."""
