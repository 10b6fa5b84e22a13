"""What an agent may do: never more than its spec asks, never more than policy gives."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aion.api import grant, granting, patterns, policy, syscall
from aion.api.agent import FAMILIES, Agent
from aion.api.tool import Tool

TENANTS = ("tenant-a", "tenant-b")
WORDS = st.sampled_from(["*", *FAMILIES, *syscall.NAMES, *grant.CAPABILITIES])
RULES = st.fixed_dictionaries(
    {"allow": st.just(["*"]) | st.lists(WORDS, max_size=6), "deny": st.lists(WORDS, max_size=3)}
)
TENANT_RULES = st.fixed_dictionaries({"allow": st.just(["*"]) | st.lists(st.sampled_from(TENANTS), max_size=2)})
BUNDLES = st.fixed_dictionaries(
    {
        "schema": st.just(policy.SCHEMA),
        "capabilities": st.builds(
            lambda rules, tenants, tools: {**rules, "by_tenant": tenants, "by_tool": tools},
            RULES,
            st.dictionaries(st.sampled_from(TENANTS), RULES, max_size=2),
            st.dictionaries(st.sampled_from(["one", "two", "t-3"]), TENANT_RULES, max_size=2),
        ),
    }
)
SYSCALLS = st.lists(st.sampled_from(["*", *FAMILIES, *syscall.NAMES]), max_size=5, unique=True)
SPECS = st.fixed_dictionaries(
    {
        "capabilities": st.fixed_dictionaries(
            {name: st.booleans() for name in grant.CAPABILITIES}, optional={"syscalls": SYSCALLS}
        )
    },
    optional={"tools": st.lists(st.sampled_from(["t-1", "t-2", "t-3", "gone"]), max_size=3, unique=True)},
)
TOOLS = st.lists(
    st.tuples(st.sampled_from(["t-1", "t-2", "t-3"]), st.sampled_from(["one", "two", None]), st.sampled_from(TENANTS)),
    max_size=4,
    unique_by=lambda tool: (tool[0], tool[2]),
)


def agent(spec=None, *, name="x"):
    meta = {"name": name, "namespace": "tenant-a"}
    return Agent.from_file(
        {"apiVersion": "aion.os/v1", "kind": "Agent", "metadata": meta,
         "spec": {"version": "1.0.0", "entry": "x", **(spec or {})}}
    )  # fmt: skip


def tool(name, called=None, namespace="tenant-a", **spec):
    said = {"version": "1.0.0", "entry": "rust:bin/x", **({"toolName": called} if called else {}), **spec}
    meta = {"name": name, "namespace": namespace}
    return Tool.from_file({"apiVersion": "aion.os/v1", "kind": "Tool", "metadata": meta, "spec": said})


def bundle(document=None):
    return policy.Bundle.from_document(document or {"schema": policy.SCHEMA})


@given(SPECS, TOOLS, BUNDLES)
def test_a_grant_never_widens(spec, tools, rules):
    who, made, rules = agent(spec), [tool(*each) for each in tools], bundle(rules)
    got = granting.compile(who, made, rules, revision=3)

    assert set(got.capabilities) <= set(who.spec.capabilities.asked())
    assert all(
        rules.capabilities.refuse(name, tenant="tenant-a") is None for name in (*got.capabilities, *got.syscalls)
    )
    assert set(got.syscalls) <= set(syscall.NAMES)
    assert all(patterns.first(who.spec.capabilities.syscalls, name) for name in got.syscalls)
    for each in got.tools:
        assert rules.capabilities.refuse_tool(each.name, tenant="tenant-a") is None
        assert any(
            made_tool.tool_name == each.name and made_tool.namespace == "tenant-a"
            and (who.spec.tools is None or made_tool.name in who.spec.tools)
            for made_tool in made
        )  # fmt: skip


@settings(deadline=None)
@given(SPECS, TOOLS, BUNDLES, st.lists(WORDS, max_size=6))
def test_a_tenants_ceiling_only_takes_away_and_is_named_where_it_does(spec, tools, rules, ceiling):
    who, made, rules = agent(spec), [tool(*each) for each in tools], bundle(rules)
    free = granting.compile(who, made, rules, revision=3)
    held = granting.compile(who, made, rules, revision=3, ceiling=ceiling)
    for kind, before, after in (
        ("capability", free.capabilities, held.capabilities),
        ("syscall", free.syscalls, held.syscalls),
    ):
        assert set(after) == {name for name in before if patterns.first(ceiling, name)}
        for name in set(before) - set(after):
            assert held.why(kind, name) == f"tenant.spec.capabilities: {name} is not in it (policy revision 3)"
    assert held.tools == free.tools, "what a Tool may do is bounded by its caller's capabilities"


@given(SPECS, TOOLS, BUNDLES)
def test_everything_that_is_not_granted_has_a_rule_that_took_it(spec, tools, rules):
    got = granting.compile(agent(spec), [tool(*each) for each in tools], bundle(rules), revision=3)
    missing = {f"capability:{name}" for name in grant.CAPABILITIES if name not in got.capabilities}
    missing |= {f"syscall:{name}" for name in syscall.NAMES if name not in got.syscalls}
    refused_tools = {key for key in got.refused if key.startswith("tool:")}
    assert set(got.refused) == missing | refused_tools
    assert not refused_tools & {f"tool:{each.name}" for each in got.tools}


@given(SPECS, TOOLS, BUNDLES, WORDS)
def test_one_more_denial_never_gives_anything(spec, tools, rules, word):
    who, made = agent(spec), [tool(*each) for each in tools]
    before = granting.compile(who, made, bundle(rules), revision=1)
    capabilities = {**rules["capabilities"], "deny": [*rules["capabilities"]["deny"], word]}
    after = granting.compile(who, made, bundle({**rules, "capabilities": capabilities}), revision=2)
    assert set(after.capabilities) <= set(before.capabilities)
    assert set(after.syscalls) <= set(before.syscalls)
    assert not any(patterns.covers(word, name) for name in (*after.capabilities, *after.syscalls))


@given(SPECS, TOOLS, BUNDLES)
def test_a_grant_is_the_same_each_time_and_whatever_the_order_of_tools(spec, tools, rules):
    made = [tool(*each) for each in tools]
    one = granting.compile(agent(spec), made, bundle(rules), revision=1)
    assert one == granting.compile(agent(spec), made[::-1], bundle(rules), revision=1)
    assert msgspec.json.decode(msgspec.json.encode(one), type=grant.Grant) == one


def test_tools_of_other_tenants_are_not_even_refused():
    got = granting.compile(agent(), [tool("t-1", namespace="tenant-b")], bundle(), revision=1)
    assert got.tools == ()
    assert not got.refuses_tool("t-1")


def test_a_tool_that_the_agent_may_not_call_for_lack_of_a_capability_is_listed_all_the_same():
    (listed,) = granting.compile(agent(), [tool("t-1", capabilitiesRequired=["network"])], bundle(), revision=1).tools
    assert listed.capabilities_required == ("network",)


def test_of_two_tools_that_are_called_alike_the_one_the_agent_may_call_is_granted():
    made = [tool("t-1", "one", version="1.0.0"), tool("t-2", "one", version="2.0.0")]
    got = granting.compile(agent({"tools": ["t-2"]}), made, bundle(), revision=1)
    assert [(each.name, each.version) for each in got.tools] == [("one", "2.0.0")]
    assert not got.refuses_tool("one")


def test_money_comes_from_the_spec_and_from_policy_and_each_bounds_its_own():
    budgets = {
        "usd_max_per_call": "0.5",
        "usd_max_per_task": "2",
        "agent_usd_per_hour": "3",
        "agent_tokens_per_minute": 40,
        "usd_per_hour": "5",
        "tokens_per_minute": 60,
    }
    rules = bundle({"schema": policy.SCHEMA, "budgets": budgets})
    got = granting.compile(agent({"policyOverrides": {"budget": {"usdMax": "0.10"}}}), [], rules, revision=1)
    assert (got.budget_micro_usd, got.call_micro_usd) == (100_000, 500_000)
    assert (got.task_micro_usd, got.hour_micro_usd, got.minute_tokens) == (2_000_000, 3_000_000, 40)
    assert (got.tenant_micro_usd, got.tenant_tokens) == (5_000_000, 60)
    free = granting.compile(agent(), [], bundle(), revision=1)
    assert {getattr(free, field) for field in free.__struct_fields__ if "micro" in field or "tokens" in field} == {None}


def test_a_denial_names_the_rule_and_the_revision():
    rules = bundle({"schema": policy.SCHEMA, "capabilities": {"deny": ["network"]}})
    got = granting.compile(agent({"capabilities": {"network": True}}), [], rules, revision=7)
    assert got.why("capability", "network") == "policy.capabilities.deny: network (policy revision 7)"
    assert got.why("capability", "gpu") == "agent.spec.capabilities.gpu: false (policy revision 7)"


def test_limits_and_hosts_are_those_of_the_bundle():
    rules = bundle(
        {
            "schema": policy.SCHEMA,
            "limits": {
                "offline_s": 5,
                "max_concurrency": 2,
                "syscall_timeout_ms": 9,
                "max_tunnels": 3,
                "tunnel_idle_s": 4,
                "tunnel_lifetime_s": 6,
                "tunnel_max_bytes": 1024,
            },
            "egress": {"allow": [{"host": "*.example.org", "ports": [443, 25], "plain": [25]}]},
        }
    )
    got = granting.compile(agent(), [], rules, revision=1)
    assert (got.offline_s, got.limits.max_concurrency, got.limits.syscall_timeout_ms) == (5, 2, 9)
    tunnels = (
        got.limits.max_tunnels,
        got.limits.tunnel_idle_s,
        got.limits.tunnel_lifetime_s,
        got.limits.tunnel_max_bytes,
    )
    assert tunnels == (3, 4, 6, 1024)
    assert got.fetch == (grant.FetchRule("*.example.org", (443, 25), plain=(25,)),)
    assert got.policy_digest == policy.digest(rules)


@pytest.mark.parametrize(
    ("io", "schema"),
    [
        ({}, {"type": "object"}),
        ({"input": {"schema": "a:int"}}, {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}),
        ({"input": {"jsonSchema": {"type": "object", "minProperties": 1}}}, {"type": "object", "minProperties": 1}),
    ],
)  # fmt: skip
def test_a_granted_tool_carries_the_schema_of_its_params(io, schema):
    (granted,) = granting.compile(agent(), [tool("t-1", io=io)], bundle(), revision=1).tools
    assert granted.input_schema == schema


VLLM = grant.Backend(name="vllm", kind="openai", url="http://vllm.models:8000/v1")
CLAUDE = grant.Backend(name="claude", kind="anthropic", url="https://api.anthropic.com", cloud=True)
BACKENDS = {each.name: each for each in (VLLM, CLAUDE)}
ROUTES = [
    {"model": "local", "backends": ["vllm"], "upstream": "meta/llama"},
    {"model": "claude-*", "backends": ["claude"]},
    {"model": "any", "backends": ["claude", "vllm"]},
    {"model": "ours", "backends": ["vllm"], "tenants": ["tenant-b"]},
    {"model": "typo", "backends": ["vlm"]},
]
MAY = {"capabilities": {"syscalls": ["model.generate"]}}


def models(*, allow_cloud, spec=None):
    rules = bundle({"schema": policy.SCHEMA, "models": {"routes": ROUTES, "allow_cloud": allow_cloud}})
    return granting.compile(agent({**MAY, **(spec or {})}), [], rules, revision=1, backends=BACKENDS)


def test_an_agent_is_granted_the_routes_of_its_tenant_and_the_backends_they_lead_to():
    got = models(allow_cloud=True)
    assert [(route.model, route.backends, route.upstream) for route in got.models] == [
        ("local", ("vllm",), "meta/llama"),
        ("claude-*", ("claude",), ""),
        ("any", ("claude", "vllm"), ""),
    ]
    assert got.backends == (CLAUDE, VLLM)
    assert got.refused["model:ours"] == "policy.models.routes[ours].tenants: not tenant-a"
    assert got.refused["model:typo"] == "policy.models.routes[typo].backends: the chart has no vlm"


@pytest.mark.parametrize(
    ("allowed", "asks", "rule"),
    [
        (False, None, "policy.models.allow_cloud: false"),
        (False, True, "policy.models.allow_cloud: false"),
        (True, False, "agent.spec.policyOverrides.privacy.allowCloud: false"),
    ],
)
def test_words_leave_the_house_only_where_policy_and_the_agent_both_say_so(allowed, asks, rule):
    spec = {} if asks is None else {"policyOverrides": {"privacy": {"allowCloud": asks}}}
    got = models(allow_cloud=allowed, spec=spec)
    assert [(route.model, route.backends) for route in got.models] == [("local", ("vllm",)), ("any", ("vllm",))]
    assert got.backends == (VLLM,)
    assert got.refused["model:claude-*"] == rule


def test_without_the_syscall_no_backend_is_told():
    rules = bundle({"schema": policy.SCHEMA, "models": {"routes": ROUTES, "allow_cloud": True}})
    fetches = {"capabilities": {"syscalls": ["net.fetch"]}}
    got = granting.compile(agent(fetches), [], rules, revision=1, backends=BACKENDS)
    assert (got.models, got.backends) == ((), ())
