"""A grant: everything one agent may do, compiled from its spec, the Tools and the policy bundle.

Apart because it is what the gateway admits by: small, flat and frozen, so that the hot path looks up and never
interprets. It must never know a model: the gateway carries no pydantic. How a grant is made stands in `granting`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

CAPABILITIES: tuple[str, ...] = ("filesystem", "gpu", "network", "subprocess")


class ToolGrant(msgspec.Struct, frozen=True, kw_only=True):
    """A Tool that the agent can see. `name` is what agents call; `endpoint` is the base URL of its runner."""

    name: str
    version: str
    endpoint: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None = None
    capabilities_required: tuple[str, ...] = ()
    idempotent: bool = False
    timeout_ms: int = 30_000
    description: str = ""


class FetchRule(msgspec.Struct, frozen=True):
    """A host that net.fetch may speak to: `api.example.org`, or `*.example.org` for everything below it.

    `private` says that the host may resolve to an address inside the cluster or a private network. `plain` are the ports on
    which a tunnel may speak something else than TLS, whose greeting says the host's name.
    """

    host: str
    ports: tuple[int, ...] = (80, 443)
    private: bool = False
    plain: tuple[int, ...] = (80,)


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """What serves models, as the chart names it. Prices are micro-USD for a million tokens; `cloud`: outside the house.

    `key` names its key in Secret aion-model-keys, empty: the backend's own name does. `max_tokens` bounds an answer
    whose caller says no bound.
    """

    name: str
    kind: Literal["openai", "ollama", "anthropic"]
    url: str
    cloud: bool = False
    price_in: int = 0
    price_out: int = 0
    key: str = ""
    max_tokens: int = 4096


class ModelRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A model's name, or a pattern that ends in `*`, and the backends that are asked for it, in this order.

    `upstream` is what they call the model, empty: as the caller does.
    """

    model: str
    backends: tuple[str, ...]
    upstream: str = ""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one agent's gateway takes on."""

    syscall_timeout_ms: int = 30_000
    generate_timeout_ms: int = 600_000
    max_body_bytes: int = 1 << 20
    max_concurrency: int = 64
    max_tunnels: int = 128
    tunnel_idle_s: int = 300
    tunnel_lifetime_s: int = 3600
    tunnel_max_bytes: int = 1 << 30

    def timeout_ms(self, syscall: str) -> int:
        """How long a call of this syscall may take: a model may think for minutes."""
        return self.generate_timeout_ms if syscall == "model.generate" else self.syscall_timeout_ms

    def timeout_rule(self, syscall: str) -> str:
        """Which limit that is, for the message of a time-out."""
        return f"the policy's limits.{'generate' if syscall == 'model.generate' else 'syscall'}_timeout_ms"


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What one agent may do, until the next grant.

    `syscalls` are names, never patterns. `refused` says which rule took something away, keyed `capability:<name>`,
    `syscall:<name>`, `tool:<name>` or `model:<name>`; ask it through `why`. What the agent in its Pod's life, one call, one
    task, the agent in an hour and its tenant in an hour may cost is in micro-USD, None where there is no limit; tokens are
    those of a minute, of the agent and of its tenant. `offline_s` is how long the gateway may go on by this grant
    without the kernel.
    """

    agent_id: str
    tenant: str
    name: str
    version: str
    capabilities: tuple[str, ...] = ()
    syscalls: tuple[str, ...] = ()
    tools: tuple[ToolGrant, ...] = ()
    fetch: tuple[FetchRule, ...] = ()
    models: tuple[ModelRoute, ...] = ()
    backends: tuple[Backend, ...] = ()
    limits: Limits = Limits()
    budget_micro_usd: int | None = None
    call_micro_usd: int | None = None
    task_micro_usd: int | None = None
    hour_micro_usd: int | None = None
    minute_tokens: int | None = None
    tenant_micro_usd: int | None = None
    tenant_tokens: int | None = None
    audit_bodies: bool = False
    trace_ratio: float = 0.0
    policy_revision: int = 0
    policy_digest: str = ""
    offline_s: int = 600
    refused: dict[str, str] = msgspec.field(default_factory=dict)

    def why(self, kind: str, name: str) -> str:
        """The rule that took `capability|syscall|tool` `name` away, for a denial's `rule`."""
        said = self.refused.get(f"{kind}:{name}", f"agent.spec.capabilities: {name} is not asked for")
        return f"{said} (policy revision {self.policy_revision})"

    def refuses_tool(self, name: str) -> bool:
        """Does this Tool exist, and policy or the agent's own spec.tools say no to it? Then E_POLICY, not E_NO_TOOL."""
        return f"tool:{name}" in self.refused
