"""Classic agent.yml and tool.yml: to the kinds and back, losing nothing in silence."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion.api import classic, labels
from aion.api.agent import Agent, AgentSpec
from aion.api.shape import InvalidManifest
from aion.api.tool import Tool, ToolSpec

AGENT = {"kind": "Agent", "metadata": {"name": "researcher", "version": "1.0.0"}, "spec": {"entry": "python -m x"}}
TOOL = {"kind": "Tool", "metadata": {"name": "web_search", "version": "1.2.0"}, "spec": {"entry": "wasm:a.wasm"}}

SIZE = st.sampled_from(["250m", "1", "2Gi", 1])
SECONDS = st.integers(1, 10**6)
CLASSIC_NAME = st.from_regex(r"[a-z][a-z0-9]{0,6}([_-][a-z0-9]{1,5}){0,2}", fullmatch=True)
METADATA = st.fixed_dictionaries(
    {"name": CLASSIC_NAME, "version": st.just("1.0.0")},
    optional={
        "namespace": st.just("tenant-a"),
        "description": st.text("abc é.", min_size=1, max_size=9),
        "labels": st.just({"team": "x"}),
        "annotations": st.just({"note": "x"}),
    },
)
AGENT_SPEC = st.fixed_dictionaries(
    {"entry": st.just("python -m x")},
    optional={
        "image": st.just("ghcr.io/acme/x:1"),
        "priority": st.integers(0, 9),
        "timeout_ms": SECONDS,
        "memory": st.fixed_dictionaries(
            {}, optional={"short_ttl_seconds": SECONDS, "episodic_ttl_seconds": SECONDS, "scope": st.just("shared")}
        ),
        "capabilities": st.fixed_dictionaries(
            {},
            optional={
                "network": st.booleans(),
                "subprocess": st.booleans(),
                "syscalls": st.just(["memory.*", "tool.invoke"]),
            },
        ),
        "tools": st.lists(CLASSIC_NAME, max_size=3, unique_by=classic.kubernetes_name),
        "resources": st.fixed_dictionaries(
            {}, optional={"cpu": SIZE, "mem": SIZE, "gpu": st.sampled_from(["none", "optional", 0])}
        ),
        "policy_overrides": st.fixed_dictionaries(
            {},
            optional={
                "sla": st.fixed_dictionaries({"p95_ms": SECONDS}),
                "budget": st.fixed_dictionaries(
                    {"usd_max": st.sampled_from([Decimal("0.10"), Decimal("2.5"), Decimal(3)])}
                ),
                "privacy": st.fixed_dictionaries({"allow_cloud": st.booleans()}),
            },
        ),
    },
)
SIDE = st.sampled_from(
    [{"schema": "query:string"}, {"json_schema": {"type": "object", "minProperties": 1, "x_y": 0.5}}]
)
TOOL_SPEC = st.fixed_dictionaries(
    {"entry": st.sampled_from(["wasm:tools/a.wasm", "rust:bin/a"])},
    optional={
        "io": st.fixed_dictionaries({}, optional={"input": SIDE, "output": SIDE}),
        "capabilities_required": st.just(["network"]),
        "idempotent": st.booleans(),
        "timeout_ms": st.integers(1, 3_600_000),
        "resources": st.fixed_dictionaries({}, optional={"cpu": SIZE, "mem": SIZE}),
        "config": st.just({"searchUrl": "http://x", "max_hits": "3"}),
        "security": st.just({"seccomp_profile": "default-restrictive", "cgroup": "tool-low"}),
        "signatures": st.just({"cosign": "sigstore://x"}),
    },
)
DOCUMENTS = st.one_of(
    st.builds(lambda metadata, spec: {**AGENT, "metadata": metadata, "spec": spec}, METADATA, AGENT_SPEC),
    st.builds(lambda metadata, spec: {**TOOL, "metadata": metadata, "spec": spec}, METADATA, TOOL_SPEC),
)


def changed(document, **spec):
    return {**document, "spec": {**document["spec"], **spec}}


def problems(document):
    with pytest.raises(InvalidManifest) as caught:
        classic.to_kind(document)
    return dict(caught.value.problems)


@given(DOCUMENTS)
def test_what_a_classic_file_says_comes_back_as_it_was(document):
    back = classic.to_classic(classic.to_kind(document).document)
    assert back.notes == ()
    assert back.document == {"apiVersion": "aion.os/v1", **document}


@given(DOCUMENTS)
def test_what_was_converted_is_taken_and_converting_it_again_changes_nothing(document):
    made = classic.to_kind(document).document
    classic.KINDS[made["kind"]].from_file(made)
    assert classic.to_kind(made) == classic.Converted(made)


def test_names_find_their_place():
    tool = classic.to_kind(TOOL)
    assert (tool.document["metadata"], tool.document["spec"]["toolName"]) == ({"name": "web-search"}, "web_search")
    assert tool.notes == ()
    agent = classic.to_kind({**AGENT, "metadata": {"name": "My_Agent", "version": "1.0.0"}})
    assert agent.document["metadata"] == {"name": "my-agent", "annotations": {labels.CLASSIC_NAMES: "My_Agent"}}
    assert "its id ends with my-agent" in agent.notes[0]
    assert classic.to_classic(agent.document).document["metadata"] == {"name": "My_Agent", "version": "1.0.0"}


def test_a_tools_name_that_agents_cannot_call_either_is_kept_and_told():
    made = classic.to_kind({**TOOL, "metadata": {"name": "3d.render", "version": "1.0.0"}})
    assert made.document["metadata"]["name"] == "3d-render"
    assert "toolName" not in made.document["spec"]
    assert "agents call it 3d-render" in made.notes[0]


def test_an_agents_tools_are_named_as_their_objects_are():
    made = classic.to_kind(changed(AGENT, tools=["web_search", "dates"])).document
    assert made["spec"]["tools"] == ["web-search", "dates"]
    assert classic.to_classic(made).document["spec"]["tools"] == ["web_search", "dates"]


@pytest.mark.parametrize(
    ("spelt", "seconds"),
    [
        ({"short_ttl": 3600}, 3600),
        ({"short_ttl": "1h"}, 3600),
        ({"short_ttl": "90m"}, 5400),
        ({"short_ttl_s": 60}, 60),
        ({"short_term_ttl_seconds": 60}, 60),
        ({"short_term_ttl": "14d"}, 1_209_600),
        ({"short_ttl_hours": 2}, 7200),
        ({"shortTtlSeconds": 5}, 5),
    ],
)
def test_times_to_live_are_understood_in_the_spellings_there_are(spelt, seconds):
    assert classic.to_kind(changed(AGENT, memory=spelt)).document["spec"]["memory"] == {"shortTtlSeconds": seconds}


def test_other_spellings_of_sizes_and_times_are_understood():
    made = classic.to_kind(
        changed(AGENT, timeout_s=Decimal("1.5"), resources={"memory_mb": 512, "cpu": Decimal("0.5")})
    )
    assert (made.document["spec"]["timeoutMs"], made.document["spec"]["resources"]) == (
        1500,
        {"mem": "512Mi", "cpu": "0.5"},
    )
    assert classic.to_kind(changed(TOOL, resources={"memory": "64Mi"})).document["spec"]["resources"] == {"mem": "64Mi"}


def test_money_keeps_the_digits_that_were_written():
    made = classic.to_kind(changed(AGENT, policy_overrides={"budget": {"usd_max": Decimal("0.10")}})).document
    assert made["spec"]["policyOverrides"]["budget"] == {"usdMax": "0.10"}
    back = classic.to_classic(made).document["spec"]["policy_overrides"]["budget"]["usd_max"]
    assert (str(back), type(back)) == ("0.10", Decimal)


def test_config_is_text_and_a_json_schema_keeps_its_numbers():
    schema = {"json_schema": {"type": "object", "properties": {"x": {"maximum": Decimal("0.5")}}}}
    made = classic.to_kind(
        changed(TOOL, config={"limit": 5, "on": True, "ratio": Decimal("0.50")}, io={"input": schema})
    ).document
    assert made["spec"]["config"] == {"limit": "5", "on": "true", "ratio": "0.50"}
    assert made["spec"]["io"]["input"]["jsonSchema"]["properties"] == {"x": {"maximum": 0.5}}


def test_a_version_may_stand_in_one_of_two_places_but_not_differ():
    moved = {"kind": "Agent", "metadata": {"name": "x"}, "spec": {"version": "2.0.0", "entry": "x"}}
    assert classic.to_kind(moved).document["spec"]["version"] == "2.0.0"
    assert "keep one" in problems(changed(AGENT, version="2.0.0"))["metadata.version"]


@pytest.mark.parametrize(
    ("document", "at"),
    [
        ({**AGENT, "kind": "Job"}, "kind"),
        ({**AGENT, "kind": ["Agent"]}, "kind"),
        ({**AGENT, "apiVersion": "kagent.dev/v1"}, "apiVersion"),
        ({"kind": "Agent", "spec": {}}, "metadata"),
        ({**AGENT, "spec": []}, "spec"),
        ({**AGENT, "metadata": {"name": "x"}}, "metadata.version"),
        ({**AGENT, "metadata": {"name": "x", "version": Decimal("1.0")}}, "metadata.version"),
        ({**AGENT, "metadata": {"version": "1.0.0"}}, "metadata.name"),
        ({**AGENT, "metadata": {"name": "x", "version": "1.0.0", "labels": [1]}}, "metadata.labels"),
        (
            {**AGENT, "metadata": {"name": "x", "version": "1.0.0", "annotations": 3, "description": "x"}},
            "metadata.annotations",
        ),
        (changed(AGENT, entry="run 'x"), "spec.entry"),
        (changed(AGENT, timeout_ms=0), "spec.timeout_ms"),
        (changed(AGENT, timeout_s="soon"), "spec.timeout_s"),
        (changed(AGENT, memory={"short_ttl": "soon"}), "spec.memory.short_ttl"),
        (changed(AGENT, memory={"short_ttl_s": "1h"}), "spec.memory.short_ttl_s"),
        (changed(AGENT, memory={"short_ttl": 1, "short_ttl_s": 1}), "spec.memory.short_ttl_s"),
        (changed(AGENT, resources={"memory_mb": "512MB"}), "spec.resources.memory_mb"),
        (changed(AGENT, policy_overrides={"budget": {"usd_max": "ten"}}), "spec.policy_overrides.budget.usd_max"),
        (changed(AGENT, policy_overrides={"budget": {"usd_max": None}}), "spec.policy_overrides.budget.usd_max"),
        (changed(AGENT, tools="web_search"), "spec.tools"),
        (changed(TOOL, io={"input": {"schema": "a:b"}}), "spec.io.input.schema"),
    ],
)
def test_a_problem_is_told_by_its_place_in_the_classic_file(document, at):
    assert at in problems(document)


def test_an_unknown_field_is_answered_in_the_classic_spelling():
    told = problems(
        {**changed(AGENT, timeout=5, polcy_overrides={}), "metadata": {"name": "x", "version": "1.0.0", "author": "me"}}
    )
    assert told["spec.timeout"] == "unknown field: did you mean timeout_ms?"
    assert told["spec.polcy_overrides"] == "unknown field: did you mean policy_overrides?"
    assert told["metadata.author"].startswith("unknown field: expected name, version")


def test_what_only_kubernetes_can_say_is_left_out_with_a_note():
    spec = {
        "version": "1.0.0", "entry": "x", "source": {"configMap": "x-src"}, "operatingMode": "Suspended",
        "sandboxProfile": "sealed", "podTemplate": {"labels": {"a": "b"}},
    }  # fmt: skip
    back = classic.to_classic({"apiVersion": "aion.os/v1", "kind": "Agent", "metadata": {"name": "x"}, "spec": spec})
    assert [note.split()[0] for note in back.notes] == [
        "spec.source",
        "spec.operatingMode",
        "spec.sandboxProfile",
        "spec.podTemplate",
    ]
    assert back.document["spec"] == {"entry": "x"}
    harmless = {"version": "1.0.0", "entry": "x", "operatingMode": "Running", "podTemplate": {}}
    assert (
        classic.to_classic(
            {"apiVersion": "aion.os/v1", "kind": "Agent", "metadata": {"name": "x"}, "spec": harmless}
        ).notes
        == ()
    )


def test_two_names_of_a_tool_become_one_with_a_note():
    document = {
        "apiVersion": "aion.os/v1", "kind": "Tool", "metadata": {"name": "search-2"},
        "spec": {"toolName": "web_search", "version": "1.0.0", "entry": "wasm:a.wasm"},
    }  # fmt: skip
    back = classic.to_classic(document)
    assert back.document["metadata"]["name"] == "web_search"
    assert "converted back the object is called web-search" in back.notes[0]


def test_the_clusters_own_fields_are_left_behind_without_a_word():
    live = {
        **classic.to_kind(AGENT).document,
        "metadata": {"name": "x", "uid": "u", "generation": 3, "managedFields": [], "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        "status": {"observedGeneration": 3},
    }  # fmt: skip
    back = classic.to_classic(live)
    assert (back.document["metadata"], back.notes) == ({"name": "x", "version": "1.0.0"}, ())


def test_a_namespace_that_is_asked_for_replaces_the_files():
    document = {**AGENT, "metadata": {**AGENT["metadata"], "namespace": "a"}}
    assert classic.to_kind(document).document["metadata"]["namespace"] == "a"
    assert classic.to_kind(document, namespace="b").document["metadata"]["namespace"] == "b"


def test_every_field_of_a_spec_has_one_classic_name():
    for spec in (AgentSpec, ToolSpec):
        names = [field.alias or name for name, field in spec.model_fields.items()]
        assert len({classic.spelling.classic(name) for name in names}) == len(names)
    assert {"Agent": Agent, "Tool": Tool} == classic.KINDS
