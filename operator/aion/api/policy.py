"""Policy bundles `aion.policy.v1`, and kind Policy, which points at the active one.

A bundle is immutable and named by its digest: sha256 over its RFC 8785 form. Each field has a direction, so that a
machine's proposal that would widen a right can be told from one that tightens. Read strictly and always: a bundle with
a field that nobody here knows is refused, because a rule that is not understood cannot be kept.
"""

# ruff: noqa: ANN401 - a default is of its field's type, as in pydantic's own Field

import hashlib
import json
from typing import Annotated, Any, Literal, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aion.api import fields, meta, patterns
from aion.api.shape import InvalidManifest, Shape, problems_of

SCHEMA = "aion.policy.v1"

Direction = Literal["widen", "tighten", "neutral"]


def _raising(direction: Direction) -> dict[str, Any]:
    """What more of a field means: a larger number, a longer list, true instead of false."""
    return {"direction": direction}


def _widens(default: Any, **more: Any) -> Any:
    return Field(default, json_schema_extra=_raising("widen"), **more)


def _tightens(default: Any, **more: Any) -> Any:
    return Field(default, json_schema_extra=_raising("tighten"), **more)


def _neutral(default: Any, **more: Any) -> Any:
    return Field(default, json_schema_extra=_raising("neutral"), **more)


Pattern = Annotated[str, Field(pattern=r"^(\*|[A-Za-z0-9._-]{1,63}(\.\*)?)$", max_length=65)]
TenantName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,63}$")]
BackendName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Part(BaseModel):
    """A piece of a bundle: snake_case, frozen, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Rules(Part):
    """Patterns: `deny` is read first, then something in `allow` must cover the name."""

    allow: tuple[Pattern, ...] = _widens(("*",), max_length=256)
    """Patterns of what may be done."""
    deny: tuple[Pattern, ...] = _tightens((), max_length=256)
    """Patterns of what may not be done, whatever `allow` says."""

    def against(self, name: str, *, at: str) -> str | None:
        """The rule that refuses `name`, as a path into the bundle; None where nothing does."""
        if (pattern := patterns.first(self.deny, name)) is not None:
            return f"{at}.deny: {pattern}"
        return None if patterns.first(self.allow, name) is not None else f"{at}.allow: {name} is not in it"


class Capabilities(Rules):
    """Who may do what. `allow` and `deny` hold capabilities (`network`) and syscalls (`memory.*`) for everybody,
    `by_tenant` the same for one tenant, `by_tool` the tenants that may call a tool. Each level can only take away.
    """  # noqa: D205 - one thought

    by_tenant: dict[TenantName, Rules] = _neutral({}, max_length=1024)
    """Tenant -> rules for its agents, beside those for everybody."""
    by_tool: dict[ToolName, Rules] = _neutral({}, max_length=1024)
    """Tool, as agents call it -> rules over the tenants that may call it."""

    def refuse(self, name: str, *, tenant: str) -> str | None:
        """The rule that refuses a capability or a syscall to a tenant, or None."""
        if rule := self.against(name, at="policy.capabilities"):
            return rule
        own = self.by_tenant.get(tenant)
        return own.against(name, at=f"policy.capabilities.by_tenant[{tenant}]") if own else None

    def refuse_tool(self, tool: str, *, tenant: str) -> str | None:
        """The rule that refuses a tool to a tenant, or None."""
        own = self.by_tool.get(tool)
        return own.against(tenant, at=f"policy.capabilities.by_tool[{tool}]") if own else None


class Budgets(Part):
    """Money and tokens. Absent: no limit of this kind."""

    usd_per_hour: fields.Dollars | None = _widens(None)
    """Dollars that a tenant may spend in an hour, by all of its agents, as a decimal string."""
    tokens_per_minute: int | None = _widens(None, ge=0, le=fields.EXACT)
    """Tokens that a tenant may use in a minute, by all of its agents."""
    usd_max_per_call: fields.Dollars | None = _widens(None)
    """Dollars that one syscall may cost, as a decimal string."""
    usd_max_per_task: fields.Dollars | None = _widens(None)
    """Dollars that the syscalls of one task may cost together, as a decimal string."""
    agent_usd_per_hour: fields.Dollars | None = _widens(None)
    """Dollars that one agent may spend in an hour, as a decimal string."""
    agent_tokens_per_minute: int | None = _widens(None, ge=0, le=fields.EXACT)
    """Tokens that one agent may use in a minute."""


class Limits(Part):
    """What one gateway takes on, and how long it may go on without the kernel."""

    syscall_timeout_ms: int = _neutral(30_000, ge=1, le=3_600_000)
    """How long a syscall may take; a tool's own timeoutMs may be shorter."""
    generate_timeout_ms: int = _neutral(600_000, ge=1, le=3_600_000)
    """How long model.generate may take instead, streams as a whole: models think for minutes."""
    max_concurrency: int = _widens(64, ge=1, le=10_000)
    """Syscalls of one agent under way at once."""
    max_body_bytes: int = _widens(1 << 20, ge=1024, le=64 << 20)
    """The largest request body."""
    offline_s: int = _widens(600, ge=0, le=86_400)
    """How long a gateway goes on by the last good policy without the kernel; then it refuses everything."""
    max_tunnels: int = _widens(128, ge=1, le=10_000)
    """Connections of one agent through the egress proxy at once. They take no seats of `max_concurrency`: clients keep idle ones."""
    tunnel_idle_s: int = _widens(300, ge=1, le=86_400)
    """How long such a connection may lie still."""
    tunnel_lifetime_s: int = _widens(3600, ge=1, le=86_400)
    """How long it may last. Its audit record is written at its end."""
    tunnel_max_bytes: int = _widens(1 << 30, ge=1024, le=fields.EXACT)
    """How much it may carry, both ways together."""


class Weights(Part):
    """Shares of the three classes; high >= normal >= low >= 1."""

    high: int = _neutral(8, ge=1, le=1000)
    """Of the tasks of priority 7 to 9."""
    normal: int = _neutral(3, ge=1, le=1000)
    """Of the tasks of priority 4 to 6."""
    low: int = _neutral(1, ge=1, le=1000)
    """Of the tasks of priority 0 to 3."""


class Scheduler(Part):
    """How tasks share agents."""

    weights: Weights = _neutral(Weights())
    """Shares of the three classes; high >= normal >= low."""
    reserve: int = _neutral(0, ge=0, le=100)
    """Percent of the slots that are kept for high."""
    min_run_ms: int = _neutral(1_000, ge=0, le=3_600_000)
    """How long a task runs at least before it may be taken away."""
    max_preempts: int = _neutral(3, ge=0, le=1000)
    """How often a task may be taken away."""


class Watermarks(Part):
    """Garbage is collected from `high` down to `low`, as shares of the capacity."""

    high: float = _neutral(0.85, gt=0, le=1)
    """Collecting begins here."""
    low: float = _neutral(0.60, gt=0, le=1)
    """Collecting ends here; below `high`."""


class Ttl(Part):
    """The longest that a tier keeps anything, in seconds. Absent: what the agent asks."""

    short_s: int | None = _widens(None, ge=1, le=fields.EXACT)
    """Of short memory."""
    long_s: int | None = _widens(None, ge=1, le=fields.EXACT)
    """Of long memory."""
    episodic_s: int | None = _widens(None, ge=1, le=fields.EXACT)
    """Of episodic memory."""


class Memory(Part):
    """How memory is kept."""

    gc: Watermarks = _neutral(Watermarks())
    """When garbage is collected, as shares of the capacity."""
    ttl: Ttl = _neutral(Ttl())
    """The longest that a tier keeps anything, in seconds."""


class Route(Part):
    """Where a model's calls go."""

    model: str = _neutral(..., pattern=r"^[^*\s]{0,127}(\*|[^*\s])$", max_length=128)
    """The model's name, as agents give it, or the beginning of names, as `claude-*`. Whole names are looked up first, then patterns in order."""
    backends: tuple[BackendName, ...] = _widens(..., min_length=1, max_length=8)
    """The backends to ask, in this order, by their names in the chart's `models.backends`. The next one is asked where one cannot answer."""
    upstream: str = _neutral("", max_length=128)
    """What the backends call the model. Absent: as agents do."""
    tenants: tuple[TenantName, ...] | None = _widens(None, max_length=1024)
    """The tenants whose agents may use it. Absent: all."""


class Models(Part):
    """Which models agents may use, and whether their words may leave the house."""

    routes: tuple[Route, ...] = _widens((), max_length=256)
    """Where each model's calls go. A model without a route cannot be called."""
    allow_cloud: bool = _widens(False)
    """Whether backends that are outside the house (`cloud: true`) may be asked. An Agent's policyOverrides.privacy.allowCloud may forbid it, and never allow it."""


class Sampling(Part):
    """What is recorded beyond the audit."""

    traces: float = _neutral(0.01, ge=0, le=1)
    """The share of calls that are traced. Denials and errors always are."""
    audit_bodies: bool = _neutral(False)
    """Whether audit records hold what was asked and answered. Everyone who reads the audit then reads that."""


class Host(Part):
    """A host that net.fetch may speak to; `private` allows addresses of the cluster and private networks."""

    host: str = _neutral(..., pattern=r"^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)
    """`api.example.org`, or `*.example.org` for everything below it."""
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = _widens((80, 443), min_length=1, max_length=64)
    """The ports."""
    private: bool = _widens(False)
    """Whether the host may have an address inside the cluster or a private network."""
    plain: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = _widens((80,), max_length=64)
    """Those of the ports on which a tunnel may speak something else than TLS. On all others it must say the host's name in its TLS greeting."""


class Egress(Part):
    """Where net.fetch may go. Empty: nowhere."""

    allow: tuple[Host, ...] = _widens((), max_length=1024)
    """The hosts."""


class Bundle(Part):
    """One policy, whole."""

    schema_: Literal["aion.policy.v1"] = Field(alias="schema", json_schema_extra=_raising("neutral"))
    """The format, `aion.policy.v1`."""
    capabilities: Capabilities = _neutral(Capabilities())
    """Who may do what: capabilities, syscalls and tools."""
    budgets: Budgets = _neutral(Budgets())
    """Money and tokens. Absent: no limit of this kind."""
    limits: Limits = _neutral(Limits())
    """What one gateway takes on, and how long it goes on without the kernel."""
    scheduler: Scheduler = _neutral(Scheduler())
    """How tasks share agents."""
    memory: Memory = _neutral(Memory())
    """How memory is kept."""
    models: Models = _neutral(Models())
    """Which models agents may use, and whether their words may leave the house."""
    sampling: Sampling = _neutral(Sampling())
    """What is recorded beyond the audit."""
    egress: Egress = _neutral(Egress())
    """Where net.fetch may go. Empty: nowhere."""

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Read a bundle, as YAML or JSON gave it; raises InvalidManifest."""
        try:
            text = json.dumps(document, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidManifest("policy bundle", (("", f"not a document of plain values: {error}"),)) from None
        try:
            made = cls.model_validate_json(text, strict=True)
        except ValidationError as error:
            raise InvalidManifest("policy bundle", problems_of(cls, error)) from None
        made._verify_invariants()  # noqa: SLF001 - our own
        return made

    def _verify_invariants(self) -> None:
        weights, gc = self.scheduler.weights, self.memory.gc
        if not weights.high >= weights.normal >= weights.low:
            said = f"got {weights.high}, {weights.normal}, {weights.low}, expected high >= normal >= low"
            raise InvalidManifest("policy bundle", (("scheduler.weights", said),))
        if not gc.high > gc.low:
            said = f"got high {gc.high} and low {gc.low}, expected high > low"
            raise InvalidManifest("policy bundle", (("memory.gc", said),))

    def document(self) -> dict[str, Any]:
        """As it was written: only what was set."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def digest(bundle: Bundle) -> str:
    """Sha256 of the bundle's RFC 8785 form, in hex. What a bundle leaves out is not in it."""
    return hashlib.sha256(rfc8785.dumps(bundle.document())).hexdigest()


def config_map_name(of: str) -> str:
    """The name of the ConfigMap that holds the bundle of this digest."""
    return f"aion-policy-{of[:12]}"


class Gates(Shape):
    """What a candidate must keep to. Absent: not judged."""

    p95_latency_ms: Annotated[int, Field(ge=1, le=86_400_000)] | None = None
    """95 of 100 syscalls are answered within so many milliseconds."""
    error_rate_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """At most so many of 100 syscalls fail."""
    usd_per_hour: fields.Dollars | None = None
    """At most so many dollars are spent in an hour."""


class Guardrails(Shape):
    """What no machine may change."""

    frozen: Annotated[tuple[fields.Word, ...], Field(max_length=128), fields.UNIQUE, fields.AS_SET] = ()
    """Paths into the bundle, such as `models.allow_cloud`."""


class PolicySpec(Shape):
    """What people decide; the operator owns the pointer in status."""

    mode: Literal["Off", "Observe", "Suggest", "Auto"] = "Off"
    """What the brain may do: nothing, watch, propose, or try by itself within the gates."""
    guardrails: Guardrails = Guardrails()
    """What no machine may change."""
    gates: Gates = Gates()
    """What a candidate must keep to."""


class Pointer(Shape):
    """The bundle in force."""

    revision: fields.Count
    """Only rises: a rollback is a new revision with an old digest."""
    digest: Annotated[str, Field(max_length=128)]
    """The sha256 of the bundle's RFC 8785 form, in hex."""
    config_map: fields.Word = ""
    """The ConfigMap that holds the bundle."""
    since: fields.Timestamp = ""
    """Since when it is in force."""


class Candidate(Pointer):
    """A bundle on trial."""

    weight: Annotated[int, Field(ge=0, le=100)] = 0
    """The percentage of agents that have it."""


class PolicyStatus(Shape):
    """What the operator wrote."""

    observed_generation: fields.Count = 0
    """The generation of the spec that all of this is about."""
    conditions: meta.Conditions = ()
    """How the Policy fares, each truth by itself."""
    active: Pointer | None = None
    """The bundle in force."""
    candidate: Candidate | None = None
    """The bundle on trial, if any."""


class Policy(meta.Kind):
    """Which policy bundle is in force, and who may change it how."""

    names = meta.Names("Policy", "policies", "policy", ("apol",), "Namespaced")
    columns = (
        *meta.ready_columns(),
        meta.Column("Mode", "string", ".spec.mode"),
        meta.Column("Revision", "integer", ".status.active.revision"),
        meta.Column("Bundle", "string", ".status.active.configMap"),
        meta.Column("Candidate", "string", ".status.candidate.configMap", 1),
        meta.AGE,
    )

    kind: Literal["Policy"] = "Policy"
    spec: PolicySpec = PolicySpec()
    status: PolicyStatus = PolicyStatus()
