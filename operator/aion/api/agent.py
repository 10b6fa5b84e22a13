"""Kind Agent: one agent, what it runs, what it asks for. The page of the kind is crds/agent.md.

Pure data. Values that a spec leaves out are read here with their defaults; a schema holds none, because they would
change what was signed. It must never hold a secret, nor a field that weakens confinement.
"""

from typing import Annotated, Literal

from pydantic import Field

from aion.api import entry as entries
from aion.api import fields, grant, ids, labels, meta
from aion.api import syscall as syscalls
from aion.api.podtemplate import PodTemplate
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


class Source(Shape):
    """Files for samples and quick starts, mounted read-only at /app."""

    config_map: fields.DnsSubdomain
    """The ConfigMap of the namespace whose keys become files."""


class Memory(Shape):
    """How long each tier keeps what this agent puts, and who may read it."""

    short_ttl_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = 3_600
    """How long short memory keeps an entry, in seconds: an hour where nothing is said, a year at most."""
    long_ttl_seconds: Annotated[int, Field(ge=1, le=315_360_000)] = 1_209_600
    """The same for long memory: 14 days where nothing is said, ten years at most."""
    episodic_ttl_seconds: Annotated[int, Field(ge=1, le=315_360_000)] = 259_200
    """The same for episodic memory: 3 days where nothing is said, ten years at most."""
    scope: Literal["own", "shared"] = "own"
    """Who reads what this agent puts: itself alone, or every agent of its tenant."""


class Capabilities(Shape):
    """What the agent asks for. Policy may give less, never more."""

    filesystem: bool = False
    """May keep files: the `fs.*` syscalls, over the agent's own versioned files."""
    network: bool = False
    """The gateway may fetch for the agent, where policy's egress allows. The agent itself never owns a socket of IP."""
    gpu: bool = False
    """May use the GPUs that `resources.gpu` asks for."""
    subprocess: bool = False
    """May start further programs of its own image."""
    syscalls: Annotated[tuple[SyscallPattern, ...], Field(max_length=64), fields.UNIQUE, fields.AS_SET] = ("*",)
    """Which syscalls it may make: names, families such as `memory.*`, or `*`. Empty: none."""

    def asked(self) -> tuple[str, ...]:
        """The capabilities that are true, sorted."""
        return tuple(name for name in grant.CAPABILITIES if getattr(self, name))


class Resources(Shape):
    """What the agent's container gets: as its request and its limit, both."""

    cpu: fields.Quantity = "1000m"
    """CPU, as a Kubernetes quantity."""
    mem: fields.Quantity = "1Gi"
    """Memory, as a Kubernetes quantity. Beyond it the container is killed."""
    gpu: Gpu = "none"
    """How many GPUs: a count, `required` for one, `none`, or `optional` for one where a node has any when the Pod is made."""


class Sla(Shape):
    """What the agent promises its users."""

    p95_ms: Annotated[int, Field(ge=1, le=86_400_000)] | None = None
    """95 of 100 syscalls are answered within so many milliseconds."""


class Budget(Shape):
    """What the agent may spend."""

    usd_max: fields.Dollars | None = None
    """Dollars that the agent may spend in its Pod's life, as a decimal string. Then its syscalls end with E_BUDGET."""


class Privacy(Shape):
    """Where the agent's data may go."""

    allow_cloud: bool | None = None
    """`false`: no model outside the house sees this agent's words, whatever policy allows."""


class PolicyOverrides(Shape):
    """Narrows what policy gives; it can never widen it."""

    sla: Sla = Sla()
    """What the agent promises its users."""
    budget: Budget = Budget()
    """What the agent may spend."""
    privacy: Privacy = Privacy()
    """Where the agent's data may go."""


class AgentSpec(Shape):
    """What a person asks for."""

    version: fields.SemVer
    """The agent's own version, semantic. It stands in the registry and beside every record."""
    image: fields.ImageRef | None = None
    """The image that holds the agent. The chart's Python runtime, with the SDK in it, where nothing is said."""
    entry: Entry
    """The command line. It is split into words by shell rules and run by no shell, so no variable is expanded."""
    source: Source | None = None
    """Files from a ConfigMap, mounted read-only at /app, which is then the working directory."""
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    """7 to 9 is high, 4 to 6 normal, 0 to 3 low: the PriorityClass `aion-high|normal|low`, and the queue of its tasks."""
    operating_mode: Literal["Running", "Suspended"] = "Running"
    """`Suspended` takes the Pod away and keeps everything else."""
    timeout_ms: Annotated[int, Field(ge=1, le=86_400_000)] = 120_000
    """A task's wall time in milliseconds: two minutes where nothing is said, a day at most. The grace of the Pod follows from it."""
    memory: Memory = Memory()
    """How long each memory tier keeps what this agent puts, and who may read it."""
    capabilities: Capabilities = Capabilities()
    """What the agent asks to be allowed. Where nothing is said: every syscall that policy gives, no other capability."""
    tools: Annotated[tuple[fields.DnsLabel, ...], Field(max_length=128), fields.UNIQUE, fields.AS_SET] | None = None
    """The Tools that it may call, by `metadata.name`. Where nothing is said: all of its namespace that policy allows."""
    resources: Resources = Resources()
    """CPU, memory and GPUs of the agent's container. The gateway's own come on top."""
    sandbox_profile: fields.OptionalName = ""
    """The profile that confines the agent. Where nothing is said: the tightest one that its capabilities allow."""
    policy_overrides: PolicyOverrides = PolicyOverrides()
    """Limits of this agent, below those of policy."""
    pod_template: PodTemplate = PodTemplate()
    """Labels, placement and plain variables of the agent's Pod."""

    rules = (
        Rule(
            # `optional` demands nothing: without the capability the agent runs, and gets no GPU.
            cel="!has(self.resources) || !has(self.resources.gpu) || self.resources.gpu in ['none', 'optional'] "
            "|| self.resources.gpu == 0 || (has(self.capabilities) && has(self.capabilities.gpu) "
            "&& self.capabilities.gpu)",
            message="resources.gpu asks for a GPU that capabilities.gpu does not: set capabilities.gpu to true",
            holds=lambda spec: spec.resources.gpu in ("none", "optional", 0) or spec.capabilities.gpu,
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
    """The policy that binds the agent."""

    revision: fields.Count = 0
    """The revision of the pointer."""
    digest: Annotated[str, Field(max_length=128)] = ""
    """The sha256 of the bundle."""


class UsageStatus(Shape):
    """What the agent has used since its Pod started."""

    syscalls: fields.Count = 0
    """How many syscalls."""
    tokens: fields.Count = 0
    """Tokens in and out of models."""
    usd: Annotated[str, Field(max_length=24)] = "0"
    """Dollars, as a decimal string."""


class Checkpoint(Shape):
    """The newest checkpoint kept for this agent."""

    task: fields.Word = ""
    """The task that was checkpointed."""
    seq: fields.Count = 0
    """Its number within the task."""
    digest: Annotated[str, Field(max_length=128)] = ""
    """The sha256 of its body."""
    time: fields.Timestamp = ""
    """When it was taken."""


class AgentStatus(Shape):
    """What the controller and the kernel saw."""

    observed_generation: fields.Count = 0
    """The generation of the spec that all of this is about."""
    conditions: meta.Conditions = ()
    """How the Agent fares, each truth by itself."""
    pod_name: fields.Word = ""
    """The Pod of the spec of now."""
    node_name: fields.Word = ""
    """The node on which it runs."""
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    """spec.priority, or what stands for it where the spec says nothing."""
    queue: Annotated[str, Field(max_length=63)] = ""
    """high, normal or low: from spec.priority."""
    effective_policy: EffectivePolicy | None = None
    """The policy that binds the agent."""
    effective_capabilities: Annotated[
        tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=64), fields.AS_ATOM
    ] = ()
    """What is left of spec.capabilities under that policy: capabilities and syscalls."""
    usage: UsageStatus | None = None
    """What the agent has used since its Pod started."""
    last_checkpoint: Checkpoint | None = None
    """The newest checkpoint kept for this agent."""
    last_heartbeat: fields.Timestamp = ""
    """When its gateway was last heard of."""


class Agent(meta.Kind):
    """An AI agent, sealed in its Pod: everything it does is a syscall to the gateway beside it."""

    names = meta.Names("Agent", "agents", "agent", ("ag",), "Namespaced")
    columns = (
        *meta.ready_columns(),
        meta.Column("Priority", "integer", ".status.priority"),
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
