"""How a grant is made: what the spec asks, as far as policy and the Tenant allow, with the rule beside everything that is taken away.

Apart from `grant`, whose structs every gateway carries, because only the kernel compiles grants and knows the models.
Pure: the same agent, tools and bundle give the same grant. It must never widen.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from aion.api import grant, ids, patterns, policy
from aion.api import syscall as syscalls
from aion.api.agent import Agent
from aion.api.policy import Bundle
from aion.api.tool import Tool

TENANTS, CHARTS = "tenant.spec.capabilities", "the chart's tenantDefaults.capabilities"
"""Whose ceiling it is: the Tenant's, or the chart's for every namespace that has none."""


def compile(  # noqa: A001 - it is what it does
    agent: Agent,
    tools: Sequence[Tool],
    bundle: Bundle,
    *,
    revision: int,
    ceiling: Sequence[str] | None = None,
    ceiling_of: str = TENANTS,
    backends: Mapping[str, grant.Backend] = MappingProxyType({}),
) -> grant.Grant:
    """What `agent` may do under `bundle`. Tools of other namespaces are passed over.

    A Tool whose capabilities the agent lacks is listed all the same, so that calling it is denied by name of the rule;
    one that spec.tools or policy leaves out is in `refused`.
    `ceiling` is the Tenant's spec.capabilities: names of capabilities and patterns of syscalls, None where it sets none;
    for a namespace without a Tenant, the chart's. `ceiling_of` says which, in denials.
    `backends` are the chart's, by name; a grant holds those that its routes lead to, and none without model.generate.
    """
    tenant, spec, rules = agent.namespace, agent.spec, bundle.capabilities
    refused: dict[str, str] = {}

    capabilities = []
    for name in grant.CAPABILITIES:
        if name not in spec.capabilities.asked():
            refused[f"capability:{name}"] = f"agent.spec.capabilities.{name}: false"
        elif rule := _above(ceiling, name, whose=ceiling_of) or rules.refuse(name, tenant=tenant):
            refused[f"capability:{name}"] = rule
        else:
            capabilities.append(name)

    allowed = []
    for name in syscalls.NAMES:
        if patterns.first(spec.capabilities.syscalls, name) is None:
            refused[f"syscall:{name}"] = f"agent.spec.capabilities.syscalls: {name} is not in it"
        elif rule := _above(ceiling, name, whose=ceiling_of) or rules.refuse(name, tenant=tenant):
            refused[f"syscall:{name}"] = rule
        else:
            allowed.append(name)

    granted: dict[str, grant.ToolGrant] = {}
    for tool in sorted(tools, key=lambda each: each.seniority):
        if tool.namespace != agent.namespace or tool.tool_name in granted:
            continue
        if spec.tools is not None and tool.name not in spec.tools:
            refused[f"tool:{tool.tool_name}"] = f"agent.spec.tools: {tool.name} is not in it"
        elif rule := rules.refuse_tool(tool.tool_name, tenant=tenant):
            refused[f"tool:{tool.tool_name}"] = rule
        else:
            granted[tool.tool_name] = _tool(tool)
            refused.pop(f"tool:{tool.tool_name}", None)

    models: tuple[grant.ModelRoute, ...] = ()
    if "model.generate" in allowed:
        models = _routes(agent, bundle, backends, refused)
    asked = {name for route in models for name in route.backends}

    return grant.Grant(
        agent_id=agent.id,
        tenant=tenant,
        name=agent.name,
        version=spec.version,
        capabilities=tuple(capabilities),
        syscalls=tuple(allowed),
        tools=tuple(sorted(granted.values(), key=lambda each: each.name)),
        fetch=tuple(grant.FetchRule(host.host, host.ports, host.private, host.plain) for host in bundle.egress.allow),
        models=models,
        backends=tuple(backends[name] for name in sorted(asked)),
        limits=grant.Limits(
            syscall_timeout_ms=bundle.limits.syscall_timeout_ms,
            generate_timeout_ms=bundle.limits.generate_timeout_ms,
            max_body_bytes=bundle.limits.max_body_bytes,
            max_concurrency=bundle.limits.max_concurrency,
            max_tunnels=bundle.limits.max_tunnels,
            tunnel_idle_s=bundle.limits.tunnel_idle_s,
            tunnel_lifetime_s=bundle.limits.tunnel_lifetime_s,
            tunnel_max_bytes=bundle.limits.tunnel_max_bytes,
        ),
        budget_micro_usd=_micro(spec.policy_overrides.budget.usd_max),
        call_micro_usd=_micro(bundle.budgets.usd_max_per_call),
        task_micro_usd=_micro(bundle.budgets.usd_max_per_task),
        hour_micro_usd=_micro(bundle.budgets.agent_usd_per_hour),
        minute_tokens=bundle.budgets.agent_tokens_per_minute,
        tenant_micro_usd=_micro(bundle.budgets.usd_per_hour),
        tenant_tokens=bundle.budgets.tokens_per_minute,
        audit_bodies=bundle.sampling.audit_bodies,
        trace_ratio=bundle.sampling.traces,
        policy_revision=revision,
        policy_digest=policy.digest(bundle),
        offline_s=bundle.limits.offline_s,
        refused=refused,
    )


def _micro(dollars: str | None) -> int | None:
    return None if dollars is None else ids.micro_usd(dollars)


def _routes(
    agent: Agent, bundle: Bundle, backends: Mapping[str, grant.Backend], refused: dict[str, str]
) -> tuple[grant.ModelRoute, ...]:
    """The routes that are open to the agent. Of each, only backends that exist, and outside the house only where all agree."""
    cloud = None
    if not bundle.models.allow_cloud:
        cloud = "policy.models.allow_cloud: false"
    elif agent.spec.policy_overrides.privacy.allow_cloud is False:
        cloud = "agent.spec.policyOverrides.privacy.allowCloud: false"
    made = []
    for route in bundle.models.routes:
        if route.tenants is not None and agent.namespace not in route.tenants:
            refused.setdefault(
                f"model:{route.model}", f"policy.models.routes[{route.model}].tenants: not {agent.namespace}"
            )
            continue
        known = [name for name in route.backends if name in backends]
        usable = tuple(name for name in known if cloud is None or not backends[name].cloud)
        if usable:
            made.append(grant.ModelRoute(model=route.model, backends=usable, upstream=route.upstream))
        elif known:
            refused.setdefault(f"model:{route.model}", cloud or "")
        else:
            missing = ", ".join(route.backends)
            refused.setdefault(
                f"model:{route.model}", f"policy.models.routes[{route.model}].backends: the chart has no {missing}"
            )
    return tuple(made)


def _above(ceiling: Sequence[str] | None, name: str, *, whose: str) -> str | None:
    """The rule of the ceiling that takes `name` away, or None."""
    if ceiling is None or patterns.first(ceiling, name) is not None:
        return None
    return f"{whose}: {name} is not in it"


def _tool(tool: Tool) -> grant.ToolGrant:
    return grant.ToolGrant(
        name=tool.tool_name,
        version=tool.spec.version,
        endpoint=tool.endpoint,
        input_schema=tool.input_schema(),
        output_schema=tool.output_schema(),
        capabilities_required=tuple(sorted(tool.spec.capabilities_required)),
        idempotent=tool.spec.idempotent,
        timeout_ms=tool.spec.timeout_ms,
        description=tool.spec.description,
    )
