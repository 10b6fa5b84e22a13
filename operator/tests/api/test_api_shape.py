"""How documents are read: strictly what a person wrote, tolerantly what a cluster holds."""

import pytest

from aion.api.agent import Agent
from aion.api.shape import InvalidManifest
from aion.api.tenant import Tenant
from aion.api.tool import Tool

SPEC = {"version": "1.0.0", "entry": "python -m x"}


def document(kind="Agent", spec=None, metadata=None, **more):
    return {
        "apiVersion": "aion.os/v1",
        "kind": kind,
        "metadata": {"name": "x", **(metadata or {})},
        "spec": spec or SPEC,
        **more,
    }


def refused(given, kind=Agent):
    with pytest.raises(InvalidManifest) as caught:
        kind.from_file(given)
    return dict(caught.value.problems)


def test_what_was_written_is_what_comes_back_and_defaults_are_not_in_it():
    given = document(spec={**SPEC, "capabilities": {"network": True}})
    read = Agent.from_file(given)
    assert read.document() == given
    assert (read.spec.priority, read.spec.resources.mem, read.spec.capabilities.syscalls) == (5, "1Gi", ("*",))
    assert (read.id, read.spec.argv, read.spec.priority_class) == ("agent://default/x", ("python", "-m", "x"), "normal")


@pytest.mark.parametrize(
    ("priority", "name"), [(0, "low"), (3, "low"), (4, "normal"), (6, "normal"), (7, "high"), (9, "high")]
)
def test_a_priority_belongs_to_one_of_three_classes(priority, name):
    assert Agent.from_file(document(spec={**SPEC, "priority": priority})).spec.priority_class == name


def test_every_problem_is_told_at_once_with_its_path():
    told = refused(document(spec={"version": "1", "priority": 10, "resources": {"memory": "1Gi"}, "tools": ["a_b"]}))
    assert set(told) == {"spec.version", "spec.entry", "spec.priority", "spec.resources.memory", "spec.tools[0]"}
    assert told["spec.entry"] == "is required"
    assert told["spec.resources.memory"].startswith("unknown field: expected cpu, mem, gpu")


def test_a_misspelt_field_is_answered_with_the_right_one():
    assert (
        refused(document(spec={**SPEC, "timeout_ms": 5}))["spec.timeout_ms"] == "unknown field: did you mean timeoutMs?"
    )
    assert refused(document(spec={**SPEC, "podTemplate": {"toleration": []}})) == {
        "spec.podTemplate.toleration": "unknown field: did you mean tolerations?"
    }


def test_a_number_where_text_belongs_is_told_to_be_quoted():
    assert refused(document(spec={**SPEC, "version": 1.0}))["spec.version"] == "expected text, in quotes (got 1.0)"


def test_null_is_refused_as_the_api_server_refuses_it():
    spec = {**SPEC, "image": None, "memory": {"scope": None}, "podTemplate": {"env": [{"name": "A", "value": None}]}}
    assert set(refused(document(spec=spec))) == {"spec.image", "spec.memory.scope", "spec.podTemplate.env[0].value"}
    Agent.from_file(
        document(spec={**SPEC, "podTemplate": {"affinity": {"nodeAffinity": None}}}, metadata={"labels": None})
    )


def test_the_frame_is_checked_before_anything_else():
    assert refused(document(kind="Tool")) == {"kind": "got 'Tool', expected 'Agent'"}
    assert refused({**document(), "apiVersion": "aion.os/v2"}) == {
        "apiVersion": "got 'aion.os/v2', expected 'aion.os/v1'"
    }
    assert refused([]) == {"": "got list, expected a mapping"}
    assert "aionctl convert" in refused(document(metadata={"version": "1.0.0"}))["metadata.version"]


@pytest.mark.parametrize(
    ("metadata", "at"),
    [
        ({"name": "my_agent"}, "metadata.name"),
        ({"name": ""}, "metadata.name"),
        ({"namespace": "Tenant"}, "metadata.namespace"),
        ({"labels": {"team": "data science"}}, "metadata.labels.team"),
        ({"labels": {"a b": "x"}}, "metadata.labels"),
        ({"annotations": {"": "x"}}, "metadata.annotations"),
        ({"owner": "me"}, "metadata.owner"),
    ],
)
def test_metadata_is_held_to_what_kubernetes_takes(metadata, at):
    assert at in refused(document(metadata=metadata))


def test_a_cluster_may_hold_more_than_this_code_knows():
    given = document(
        spec={**SPEC, "later": 1, "memory": {"tier": "new"}}, metadata={"newField": 1}, status={"later": {}}
    )
    read = Agent.from_cluster(given)
    assert read.spec.entry == "python -m x"
    with pytest.raises(InvalidManifest):
        Agent.from_cluster(document(spec={"version": "1.0.0"}))


def test_what_kubectl_prints_is_a_file_too():
    given = document(
        metadata={
            "uid": "u",
            "generation": 3,
            "resourceVersion": "7",
            "creationTimestamp": None,
            "managedFields": [{"manager": "x"}],
        },
        status={"observedGeneration": 3, "conditions": [{"type": "Ready", "status": "True"}]},
    )
    assert Agent.from_file(given).generation == 3


def test_a_tenant_says_nothing_and_is_read():
    given = {"apiVersion": "aion.os/v1", "kind": "Tenant", "metadata": {"name": "tenant-a"}}
    assert Tenant.from_file(given).tenant == "tenant-a"


def test_a_tool_is_called_by_its_name_where_it_says_no_other():
    spec = {"version": "1.2.0", "entry": "wasm:a.wasm"}
    assert Tool.from_file(document("Tool", spec)).tool_name == "x"
    read = Tool.from_file(
        document("Tool", {**spec, "toolName": "web_search", "io": {"output": {"schema": "items:list"}}})
    )
    assert (read.tool_name, read.endpoint) == ("web_search", "http://tool-x.default.svc:8020")
    assert (read.input_schema(), "additionalProperties" in (read.output_schema() or {})) == ({"type": "object"}, False)
    assert read.document()["spec"]["io"] == {"output": {"schema": "items:list"}}


def test_a_runners_document_holds_what_the_runner_must_know_and_of_a_remote_server_where_it_is():
    spec = {
        "version": "1.2.0",
        "entry": "wasm:a.wasm",
        "resources": {"mem": "64Mi"},
        "capabilitiesRequired": ["network", "gpu"],
    }
    made = Tool.from_file(document("Tool", spec)).runner_tool()
    assert (made.kind, made.memory_mb, made.capabilities) == ("wasm", 64, ("gpu", "network"))
    remote = {"version": "1.0.0", "entry": "mcp+https://tools.example/mcp", "capabilitiesRequired": ["network"]}
    made = Tool.from_file(document("Tool", remote)).runner_tool()
    assert (made.kind, made.url) == ("mcp-remote", "https://tools.example/mcp")


def test_a_tool_that_is_elsewhere_says_that_it_needs_the_network():
    remote = {"version": "1.0.0", "entry": "mcp+https://tools.example/mcp"}
    with pytest.raises(InvalidManifest, match="capabilitiesRequired must hold network"):
        Tool.from_file(document("Tool", remote))
