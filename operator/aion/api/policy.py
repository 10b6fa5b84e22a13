"""Policy bundles `aion.policy.v1`, and kind Policy, which points at the active one.

A bundle is immutable and named by its digest: sha256 over its RFC 8785 form. Each field has a direction, so that a
machine's proposal that would widen a right can be told from one that tightens. Read strictly and always: a bundle with
a field that nobody here knows is refused, because a rule that is not understood cannot be kept.
"""

# ruff: noqa: ANN401 - a default is of its field's type, as in pydantic's own Field

import hashlib
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


class Part(BaseModel):
    """A piece of a bundle: snake_case, frozen, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Rules(Part):
    """Patterns: `deny` is read first, then something in `allow` must cover the name."""

    allow: tuple[Pattern, ...] = _widens(("*",), max_length=256)
    deny: tuple[Pattern, ...] = _tightens((), max_length=256)

    def against(self, name: str, *, at: str) -> str | None:
        """The rule that refuses `name`, as a path into the bundle; None where nothing does."""
        if (pattern := patterns.first(self.deny, name)) is not None:
            return f"{at}.deny: {pattern}"
        return None if patterns.first(self.allow, name) is not None else f"{at}.allow: {name} is not in it"


class Capabilities(Rules):
    """Who may do what. `allow` and `deny` hold capabilities (`network`) and syscalls (`memory.*`) for everybody,
    `by_tenant` the same for one tenant, `by_tool` the tenants that may call a tool. Each level can only take away.
    """  # noqa: D205 - one thought

    by_tenant: dict[str, Rules] = _neutral({}, max_length=1024)
    by_tool: dict[str, Rules] = _neutral({}, max_length=1024)

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
    tokens_per_minute: int | None = _widens(None, ge=0)
    usd_max_per_call: fields.Dollars | None = _widens(None)


class Limits(Part):
    """What one gateway takes on, and how long it may go on without the kernel."""

    syscall_timeout_ms: int = _neutral(30_000, ge=1, le=3_600_000)
    max_concurrency: int = _widens(64, ge=1, le=10_000)
    max_body_bytes: int = _widens(1 << 20, ge=1024, le=64 << 20)
    offline_s: int = _widens(300, ge=0, le=86_400)


class Weights(Part):
    """Shares of the three classes; high >= normal >= low >= 1."""

    high: int = _neutral(8, ge=1, le=1000)
    normal: int = _neutral(3, ge=1, le=1000)
    low: int = _neutral(1, ge=1, le=1000)


class Scheduler(Part):
    """How tasks share agents."""

    weights: Weights = _neutral(Weights())
    reserve: int = _neutral(0, ge=0, le=100, description="percent of slots kept for high")
    min_run_ms: int = _neutral(1_000, ge=0, le=3_600_000)
    max_preempts: int = _neutral(3, ge=0, le=1000)


class Watermarks(Part):
    """Garbage is collected from `high` down to `low`, as shares of the capacity."""

    high: float = _neutral(0.85, gt=0, le=1)
    low: float = _neutral(0.60, gt=0, le=1)


class Ttl(Part):
    """The longest that a tier keeps anything, in seconds. Absent: what the agent asks."""

    short_s: int | None = _widens(None, ge=1)
    long_s: int | None = _widens(None, ge=1)
    episodic_s: int | None = _widens(None, ge=1)


class Memory(Part):
    """How memory is kept."""

    gc: Watermarks = _neutral(Watermarks())
    ttl: Ttl = _neutral(Ttl())


class Route(Part):
    """Where a model's calls go."""

    model: str = _neutral(..., min_length=1, max_length=128)
    endpoint: str = _neutral(..., min_length=1, max_length=512)
    cloud: bool = _neutral(False)


class Models(Part):
    """Which models agents may use, and whether their words may leave the house."""

    routes: tuple[Route, ...] = _widens((), max_length=256)
    allow_cloud: bool = _widens(False)


class Sampling(Part):
    """What is recorded beyond the audit."""

    traces: float = _neutral(0.01, ge=0, le=1)
    audit_bodies: bool = _neutral(False)


class Host(Part):
    """A host that net.fetch may speak to; `private` allows addresses of the cluster and private networks."""

    host: str = _neutral(..., pattern=r"^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = _widens((80, 443), min_length=1, max_length=64)
    private: bool = _widens(False)


class Egress(Part):
    """Where net.fetch may go. Empty: nowhere."""

    allow: tuple[Host, ...] = _widens((), max_length=1024)


class Bundle(Part):
    """One policy, whole."""

    schema_: Literal["aion.policy.v1"] = Field(alias="schema", json_schema_extra=_raising("neutral"))
    capabilities: Capabilities = _neutral(Capabilities())
    budgets: Budgets = _neutral(Budgets())
    limits: Limits = _neutral(Limits())
    scheduler: Scheduler = _neutral(Scheduler())
    memory: Memory = _neutral(Memory())
    models: Models = _neutral(Models())
    sampling: Sampling = _neutral(Sampling())
    egress: Egress = _neutral(Egress())

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Read a bundle, as YAML or JSON gave it; raises InvalidManifest."""
        try:
            made = cls.model_validate(document)
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
    error_rate_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    usd_per_hour: fields.Dollars | None = None


class Guardrails(Shape):
    """What no machine may change: paths into the bundle, such as `models.allow_cloud`."""

    frozen: Annotated[tuple[fields.Word, ...], Field(max_length=128), fields.UNIQUE, fields.AS_SET] = ()


class PolicySpec(Shape):
    """What people decide; the operator owns the pointer in status."""

    mode: Literal["Off", "Observe", "Suggest", "Auto"] = "Off"
    guardrails: Guardrails = Guardrails()
    gates: Gates = Gates()


class Pointer(Shape):
    """The bundle in force. `revision` only rises: a rollback is a new revision with an old digest."""

    revision: fields.Count
    digest: Annotated[str, Field(max_length=128)]
    config_map: fields.Word = ""
    since: fields.Timestamp = ""


class Candidate(Pointer):
    """A bundle on trial, with the percentage of agents that have it."""

    weight: Annotated[int, Field(ge=0, le=100)] = 0


class PolicyStatus(Shape):
    """What the operator wrote."""

    observed_generation: fields.Count = 0
    conditions: meta.Conditions = ()
    active: Pointer | None = None
    candidate: Candidate | None = None


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
