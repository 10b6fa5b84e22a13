"""Policy bundles: strict, named by their content, every field with a direction."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from aion.api import policy
from aion.api.shape import InvalidManifest, model_within

DEFAULT = Path(__file__).resolve().parents[3] / "policies/default.yaml"
HEAD = {"schema": policy.SCHEMA}


def bundle(**said):
    return policy.Bundle.from_document({**HEAD, **said})


def fields(model, at=""):
    for name, field in model.model_fields.items():
        path = f"{at}{field.alias or name}"
        yield path, field
        if inner := model_within(field.annotation):
            yield from fields(inner, f"{path}.")


def test_the_default_bundle_is_valid_and_lets_agents_do_what_they_ask():
    read = policy.Bundle.from_document(yaml.safe_load(DEFAULT.read_text()))
    assert read.capabilities.refuse("network", tenant="tenant-a") is None
    assert read.egress.allow == ()
    assert not read.models.allow_cloud


def test_a_bundle_needs_nothing_but_its_schema():
    assert policy.Bundle.from_document(HEAD).document() == HEAD


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ({"schema": "aion.policy.v2"}, "schema"),
        ({"egres": {}}, "egres: unknown field: did you mean egress?"),
        ({"limits": {"max_concurency": 3}}, "limits.max_concurency: unknown field: did you mean max_concurrency?"),
        (
            {"capabilities": {"by_tenant": {"a": {"alow": []}}}},
            "capabilities.by_tenant.a.alow: unknown field: did you mean allow?",
        ),
        ({"limits": {"max_concurrency": "3"}}, "limits.max_concurrency"),
        ({"limits": {"max_concurrency": True}}, "limits.max_concurrency"),
        ({"limits": {"max_concurrency": 3.0}}, "limits.max_concurrency"),
        ({"limits": {"max_concurrency": 0}}, "limits.max_concurrency"),
        ({"limits": {"max_body_bytes": 1 << 40}}, "limits.max_body_bytes"),
        ({"models": {"allow_cloud": "yes"}}, "models.allow_cloud"),
        ({"models": {"allow_cloud": 1}}, "models.allow_cloud"),
        ({"models": {"routes": [{"model": "x"}]}}, "models.routes[0].backends: is required"),
        ({"budgets": {"usd_per_hour": 10}}, "budgets.usd_per_hour: expected text, in quotes"),
        ({"budgets": {"usd_per_hour": "ten"}}, "budgets.usd_per_hour"),
        ({"capabilities": {"allow": "*"}}, "capabilities.allow"),
        ({"capabilities": {"deny": ["memory.p*"]}}, "capabilities.deny[0]"),
        ({"capabilities": {"by_tool": {"a b": {}}}}, "capabilities.by_tool"),
        ({"scheduler": {"weights": {"high": 1, "normal": 3}}}, "scheduler.weights"),
        ({"memory": {"gc": {"high": 0.5, "low": 0.6}}}, "memory.gc"),
        ({"sampling": {"traces": 1.5}}, "sampling.traces"),
        ({"egress": {"allow": [{"host": "https://x"}]}}, "egress.allow[0].host"),
        ({"egress": {"allow": [{"host": "x", "ports": [0]}]}}, "egress.allow[0].ports[0]"),
        ({"egress": {"allow": [{"host": "x", "ports": []}]}}, "egress.allow[0].ports"),
        ({"sampling": {"traces": float("nan")}}, "plain values"),
        ({"x": object()}, "plain values"),
    ],
)
def test_a_bundle_that_is_not_understood_whole_is_refused_by_the_place(said, at):
    with pytest.raises(InvalidManifest) as caught:
        bundle(**said)
    assert str(caught.value).startswith(at) or at in str(caught.value)


@pytest.mark.parametrize("document", [None, [], "x", 3, {}])
def test_what_is_no_bundle_at_all_is_refused(document):
    with pytest.raises(InvalidManifest):
        policy.Bundle.from_document(document)


def test_the_digest_is_the_sha256_of_the_sorted_form_without_spaces():
    said = {**HEAD, "limits": {"offline_s": 60, "max_concurrency": 7}, "egress": {"allow": [{"host": "ä.example"[2:]}]}}
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    made = policy.digest(policy.Bundle.from_document(said))
    assert made == hashlib.sha256(canonical).hexdigest()
    assert policy.config_map_name(made) == f"aion-policy-{made[:12]}"


def test_numbers_have_one_form_in_the_digest():
    assert policy.digest(bundle(sampling={"traces": 1})) == policy.digest(bundle(sampling={"traces": 1.0}))
    text = yaml.safe_load("{schema: aion.policy.v1, memory: {gc: {high: 0.850, low: 6.0e-1}}}")
    assert policy.digest(policy.Bundle.from_document(text)) == policy.digest(
        bundle(memory={"gc": {"high": 0.85, "low": 0.6}})
    )


def test_what_a_bundle_leaves_out_is_not_in_its_digest():
    assert policy.digest(bundle()) != policy.digest(bundle(limits={"offline_s": 300}))


@given(st.permutations(["capabilities", "limits", "sampling"]))
def test_the_order_of_keys_does_not_matter(order):
    said = {
        "capabilities": {"deny": ["b", "a"]},
        "limits": {"offline_s": 1, "max_concurrency": 2},
        "sampling": {"traces": 0.5},
    }
    assert policy.digest(bundle(**{key: said[key] for key in order})) == policy.digest(bundle(**said))


def test_a_bundle_survives_its_own_document():
    read = policy.Bundle.from_document(yaml.safe_load(DEFAULT.read_text()))
    assert policy.digest(policy.Bundle.from_document(read.document())) == policy.digest(read)


@pytest.mark.parametrize(
    ("path", "field"), [pytest.param(path, field, id=path) for path, field in fields(policy.Bundle)]
)
def test_every_field_says_what_it_is_and_which_way_it_goes(path, field):
    assert (field.json_schema_extra or {}).get("direction") in ("widen", "tighten", "neutral")
    assert field.description


def test_rights_widen_by_allowing_and_tighten_by_denying():
    said = {path: field.json_schema_extra["direction"] for path, field in fields(policy.Bundle)}
    assert said["capabilities.allow"] == said["egress.allow"] == said["models.allow_cloud"] == "widen"
    assert said["capabilities.deny"] == said["capabilities.by_tenant.deny"] == "tighten"
    assert said["limits.syscall_timeout_ms"] == "neutral"


@pytest.mark.parametrize(
    ("rules", "rule"),
    [
        ({}, None),
        ({"deny": ["network"]}, "policy.capabilities.deny: network"),
        ({"deny": ["*"]}, "policy.capabilities.deny: *"),
        ({"allow": ["memory.*"]}, "policy.capabilities.allow: network is not in it"),
        ({"by_tenant": {"a": {"allow": []}}}, "policy.capabilities.by_tenant[a].allow: network is not in it"),
        ({"by_tenant": {"b": {"allow": []}}}, None),
        ({"allow": ["network"], "deny": ["network"]}, "policy.capabilities.deny: network"),
        ({"deny": ["network"], "by_tenant": {"a": {"allow": ["network"]}}}, "policy.capabilities.deny: network"),
    ],
)
def test_a_refusal_names_its_rule_and_a_tenants_rules_give_nothing_back(rules, rule):
    assert bundle(capabilities=rules).capabilities.refuse("network", tenant="a") == rule


def test_a_tool_is_for_the_tenants_that_its_rules_name():
    rules = bundle(capabilities={"by_tool": {"send_mail": {"allow": ["a"]}}}).capabilities
    assert rules.refuse_tool("send_mail", tenant="a") is None
    assert rules.refuse_tool("send_mail", tenant="b") == "policy.capabilities.by_tool[send_mail].allow: b is not in it"
    assert rules.refuse_tool("other", tenant="b") is None


def test_bundles_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        bundle().limits = None  # type: ignore[assignment]
    assert isinstance(bundle(), BaseModel)
