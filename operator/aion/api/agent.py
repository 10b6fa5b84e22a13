"""Kind Agent: one agent, what it runs, what it asks for. The page of the kind is crds/agent.md.

Pure data. Values that a spec leaves out are read here with their defaults; a schema holds none, because they would
change what was signed. It must never hold a secret, nor a field that weakens confinement.
"""

from typing import Annotated, Literal

from pydantic import Field

from aion.api import entry as entries
from aion.api import fields, grant, ids, labels, meta
from aion.api import syscall as syscalls
from aion.api.shape import IntOrString, Matching, Rule, Shape

FAMILIES = tuple(sorted({f"{name.partition('.')[0]}.*" for name in syscalls.NAMES}))

SyscallPattern = Annotated[str, Field(max_length=64), *fields.one_of("*", *FAMILIES, *syscalls.NAMES)]


Entry = Annotated[
    str,
    Field(min_length=1, max_length=entries.MAX_ENTRY),
    Matching(entries.AGENT_PATTERN, "a command line such as python -m my_agent.start", entries.parse_agent),
]

Gpu = Annotated[
    int | Literal["none", "optional", "required"],
    IntOrString("^(none|optional|required)$", "none, optional, required or a count up to 64", maximum=64),
]

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


class Source(Shape):
    """Files for samples and quick starts, mounted read-only at /app."""

    config_map: fields.DnsSubdomain


class Memory(Shape):
    """How long each tier keeps what this agent puts, and who may read it."""

    short_ttl_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = 3_600  # a year at most, 1 h
    long_ttl_seconds: Annotated[int, Field(ge=1, le=315_360_000)] = 1_209_600  # ten years at most, 14 d
    episodic_ttl_seconds: Annotated[int, Field(ge=1, le=315_360_000)] = 259_200  # 3 d
    scope: Literal["own", "shared"] = "own"


class Capabilities(Shape):
    """What the agent asks for. Policy may give less. `syscalls` absent: all that policy allows; empty: none."""

    filesystem: bool = False
    network: bool = False
    gpu: bool = False
    subprocess: bool = False
    syscalls: Annotated[tuple[SyscallPattern, ...], Field(max_length=64), fields.UNIQUE, fields.AS_SET] = ("*",)

    def asked(self) -> tuple[str, ...]:
        """The capabilities that are true, sorted."""
        return tuple(name for name in grant.CAPABILITIES if getattr(self, name))


class Resources(Shape):
    """Kubernetes quantities; `gpu` is none, optional, required or a count."""

    cpu: fields.Quantity = "1000m"
    mem: fields.Quantity = "1Gi"
    gpu: Gpu = "none"


class Sla(Shape):
    """What the agent promises its users."""

    p95_ms: Annotated[int, Field(ge=1, le=86_400_000)] | None = None


class Budget(Shape):
    """What the agent may spend, in dollars as a decimal string."""

    usd_max: fields.Dollars | None = None


class Privacy(Shape):
    """Where the agent's data may go."""

    allow_cloud: bool | None = None


class PolicyOverrides(Shape):
    """Narrows what policy gives; it can never widen it."""

    sla: Sla = Sla()
    budget: Budget = Budget()
    privacy: Privacy = Privacy()


class EnvVar(Shape):
    """A plain environment variable of the agent. Secrets have no place here."""

    name: Annotated[str, Field(max_length=128), Matching("^[A-Za-z_][A-Za-z0-9_]*$", "a name of letters, digits and _")]
    value: Annotated[str, Field(max_length=4096)] = ""


class LocalReference(Shape):
    """An object of the same namespace."""

    name: fields.DnsSubdomain


class Toleration(Shape):
    """A taint that the Pod tolerates, as in a Pod's spec."""

    key: fields.Word = ""
    operator: Literal["Exists", "Equal"] | None = None
    value: fields.Word = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None


_ENV_RULE = Rule(
    cel="!self.exists(item, ['AION_', 'NVIDIA_', 'LD_'].exists(word, item.name.startsWith(word)))",
    message="env names must not begin with AION_, NVIDIA_ or LD_: those are the launcher's",
    holds=lambda given: not any(item.name.startswith(_FORBIDDEN_ENV) for item in given),
)


class PodTemplate(Shape):
    """What the agent's Pod may say beside what AION-OS renders. Nothing here weakens confinement."""

    labels: Annotated[fields.WordMap, _no_prefix(_FORBIDDEN_LABELS, "labels")] = Field(default_factory=dict)
    annotations: Annotated[fields.WordMap, _no_prefix(_FORBIDDEN_ANNOTATIONS, "annotations")] = Field(
        default_factory=dict
    )
    node_selector: fields.WordMap = Field(default_factory=dict)
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32), fields.AS_ATOM] = ()
    affinity: fields.AnyObject = Field(default_factory=dict)
    image_pull_secrets: Annotated[
        tuple[LocalReference, ...], Field(max_length=16), fields.UNIQUE_NAMES, fields.as_map("name")
    ] = ()
    env: Annotated[
        tuple[EnvVar, ...], Field(max_length=128), fields.UNIQUE_NAMES, fields.as_map("name"), _ENV_RULE
    ] = ()


class AgentSpec(Shape):
    """What a person asks for."""

    version: fields.SemVer
    image: fields.ImageRef | None = None
    entry: Entry
    source: Source | None = None
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    operating_mode: Literal["Running", "Suspended"] = "Running"
    timeout_ms: Annotated[int, Field(ge=1, le=86_400_000)] = 120_000  # a day at most
    memory: Memory = Memory()
    capabilities: Capabilities = Capabilities()
    tools: Annotated[tuple[fields.DnsLabel, ...], Field(max_length=128), fields.UNIQUE, fields.AS_SET] | None = None
    resources: Resources = Resources()
    sandbox_profile: fields.OptionalName = ""
    policy_overrides: PolicyOverrides = PolicyOverrides()
    pod_template: PodTemplate = PodTemplate()

    rules = (
        Rule(
            cel="!has(self.resources) || !has(self.resources.gpu) || self.resources.gpu == 'none' "
            "|| self.resources.gpu == 0 || (has(self.capabilities) && has(self.capabilities.gpu) "
            "&& self.capabilities.gpu)",
            message="resources.gpu asks for a GPU that capabilities.gpu does not: set capabilities.gpu to true",
            holds=lambda spec: spec.resources.gpu in ("none", 0) or spec.capabilities.gpu,
        ),
    )

    @property
    def argv(self) -> tuple[str, ...]:
        """The entry, split by shell rules."""
        return entries.parse_agent(self.entry)

    @property
    def priority_class(self) -> Literal["high", "normal", "low"]:
        """7-9 high, 4-6 normal, 0-3 low: the task class, and the PriorityClass `aion-<class>`."""
        return "high" if self.priority >= 7 else "normal" if self.priority >= 4 else "low"


class EffectivePolicy(Shape):
    """The policy that the gateway holds."""

    revision: fields.Count = 0
    digest: Annotated[str, Field(max_length=128)] = ""


class UsageStatus(Shape):
    """What the agent has used since its Pod started."""

    syscalls: fields.Count = 0
    tokens: fields.Count = 0
    usd: Annotated[str, Field(max_length=24)] = "0"


class Checkpoint(Shape):
    """The newest checkpoint kept for this agent."""

    task: fields.Word = ""
    seq: fields.Count = 0
    digest: Annotated[str, Field(max_length=128)] = ""
    time: fields.Timestamp = ""


class AgentStatus(Shape):
    """What the controller and the kernel saw."""

    observed_generation: fields.Count = 0
    conditions: meta.Conditions = ()
    pod_name: fields.Word = ""
    node_name: fields.Word = ""
    queue: Annotated[str, Field(max_length=63)] = ""
    effective_policy: EffectivePolicy | None = None
    effective_capabilities: Annotated[
        tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=64), fields.AS_ATOM
    ] = ()
    usage: UsageStatus | None = None
    last_checkpoint: Checkpoint | None = None
    last_heartbeat: fields.Timestamp = ""


class Agent(meta.Kind):
    """An AI agent, sealed in its Pod: everything it does is a syscall to the gateway beside it."""

    names = meta.Names("Agent", "agents", "agent", ("ag",), "Namespaced")
    columns = (
        *meta.ready_columns(),
        meta.Column("Priority", "integer", ".spec.priority"),
        meta.Column("Queue", "string", ".status.queue"),
        meta.Column("Policy", "integer", ".status.effectivePolicy.revision"),
        meta.Column("Node", "string", ".status.nodeName", 1),
        meta.Column("Tokens", "integer", ".status.usage.tokens", 1),
        meta.Column("USD", "string", ".status.usage.usd", 1),
        meta.Column("Heartbeat", "date", ".status.lastHeartbeat", 1),
        meta.AGE,
    )
    rules = (
        Rule(
            cel=f"self.metadata.name.size() <= {labels.MAX_AGENT_NAME} && !self.metadata.name.contains('.')",
            message=f"an Agent's name has at most {labels.MAX_AGENT_NAME} characters and no dots: "
            "its Pod and ServiceAccount are named after it",
            holds=lambda agent: len(agent.name) <= labels.MAX_AGENT_NAME and "." not in agent.name,
        ),
    )

    kind: Literal["Agent"] = "Agent"
    spec: AgentSpec
    status: AgentStatus = AgentStatus()

    @property
    def id(self) -> ids.AgentId:
        """`agent://<namespace>/<name>`."""
        return ids.agent_id(self.namespace, self.name)
