"""Whether an object stands as we left it is read from the server's books, by shape alone."""

import copy

from controller_world import PROFILES, World, agent, tool
from hypothesis import given
from hypothesis import strategies as st

from aion.controller import accept, ownership, render_agent, render_tool, views
from aion.controller.settings import Settings
from aion.controller.testing import FakeCluster

BOOKS = {
    "f:metadata": {"f:labels": {"f:app": {}}, "f:ownerReferences": {'k:{"uid":"u1"}': {}}},
    "f:spec": {
        "f:finalizers": {'v:"one"': {}},
        "f:hard": {"f:pods": {}},
        "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}}},
        "f:egress": {},
        "f:selector": {},
    },
}


def wanted():
    owner = {"uid": "u1", "kind": "Agent"}
    return {
        "apiVersion": "v1",
        "kind": "Thing",
        "metadata": {"name": "x", "namespace": "team", "labels": {"app": "x"}, "ownerReferences": [owner]},
        "spec": {
            "finalizers": ["one"],
            "hard": {"pods": "1000m"},
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
            "egress": [],
            "selector": {"app": "x"},
        },
    }


def stored(books=BOOKS):
    live = wanted()
    del live["spec"]["egress"]  # what is empty is not stored
    live["spec"] |= {"hard": {"pods": "1", "theirs": "2"}, "clusterIP": "10.0.0.1", "finalizers": ["two", "one"]}
    live["spec"]["ports"] = [{"port": 81, "protocol": "TCP"}, {**live["spec"]["ports"][0], "targetPort": 80}]
    live["metadata"]["ownerReferences"].append({"uid": "u2", "kind": "Theirs"})
    others = {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:clusterIP": {}}}}
    status = {
        "manager": "aion-controller",
        "operation": "Apply",
        "subresource": "status",
        "fieldsV1": {"f:status": {"f:x": {}}},
    }
    ours = {"manager": "aion-controller", "operation": "Apply", "fieldsV1": books}
    live["metadata"]["managedFields"] = [others, status, ours]
    return live


def test_defaults_rewritten_values_and_what_others_added_leave_it_as_we_sent_it():
    assert ownership.held(stored()) == ownership.sent(wanted()) != ""


def test_each_field_that_somebody_took_or_removed_shows():
    for *path, last in (
        ("f:metadata", "f:labels"),
        ("f:metadata", "f:ownerReferences"),
        ("f:spec", "f:finalizers"),
        ("f:spec", "f:hard"),
        ("f:spec", "f:ports"),
        ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}', "f:name"),
        ("f:spec", "f:egress"),
        ("f:spec", "f:selector"),
    ):
        books = copy.deepcopy(BOOKS)
        at = books
        for step in path:
            at = at[step]
        del at[last]
        assert ownership.held(stored(books)) != ownership.sent(wanted()), last


def test_of_an_object_without_books_nothing_is_known_to_be_ours():
    live = stored()
    for none in ([], [{}], [{"manager": "kubectl", "operation": "Apply", "fieldsV1": BOOKS}]):
        live["metadata"]["managedFields"] = none
        assert ownership.held(live) == ""


scalars = st.one_of(st.booleans(), st.integers(0, 9), st.text("ab", min_size=1))
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", min_size=1), inner, min_size=1, max_size=3)
    ),
)


@given(st.dictionaries(st.text("xyz", min_size=1), documents, min_size=1, max_size=3), scalars)
async def test_whatever_is_applied_is_found_untouched_until_somebody_changes_one_of_its_values(spec, other):
    cluster = FakeCluster()
    meta = {"name": "x", "namespace": "team", "labels": {"a": "b"}}
    document = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta, "spec": spec}
    live = await cluster.apply(document)
    assert ownership.held(live) == ownership.sent(document)
    cluster.person_applies({**document, "spec": {**spec, "theirs": other}})
    assert ownership.held(cluster.get("ServiceAccount", "team", "x")) == ownership.sent(document)
    for name, value in spec.items():
        cluster.person_applies({**document, "spec": {**spec, name: ["other", value]}})
        assert ownership.held(cluster.get("ServiceAccount", "team", "x")) != ownership.sent(document)


async def test_a_tools_service_whose_fields_were_taken_is_written_over_and_a_new_one_is_not():
    world = World()
    await world.applies(tool())
    assert ("merge", "Service", "tool-t", "") not in world.cluster.writes
    service = world.object("Service", "tool-t")
    service["spec"]["ports"][0]["port"] = 9999
    await world.applies(service)
    assert ("merge", "Service", "tool-t", "") in world.cluster.writes
    assert world.object("Service", "tool-t")["spec"]["ports"][0]["port"] == 8020
    await world.later(600)
    assert world.cluster.writes.count(("merge", "Service", "tool-t", "")) == 1


async def test_a_pod_gets_its_label_and_its_image_back_and_keeps_what_others_noted_on_it():
    world = World()
    await world.applies(agent())
    right = world.pod()
    touched = copy.deepcopy(right)
    touched["metadata"]["labels"].pop("aion.os/agent")
    touched["spec"]["containers"][1]["image"] = "evil:1"
    await world.applies(touched)
    await world.later(60)
    assert (world.pod()["metadata"]["labels"], world.pod()["spec"]) == (right["metadata"]["labels"], right["spec"])
    before = len(world.cluster.writes)
    noted = world.pod()
    noted["metadata"]["annotations"] = {"theirs": "kept"}
    await world.applies(noted)
    await world.later(60)
    assert world.pod()["metadata"]["annotations"] == {"theirs": "kept"}
    assert len(world.cluster.writes) == before


def test_every_child_is_recognized_by_its_own_shape():
    def root(document):
        return views.root({**document, "metadata": {**document["metadata"], "uid": "u", "generation": 1}})

    settings = Settings()
    _, recipe = accept.tool(root(tool(replicas=2)), settings=settings, profiles=PROFILES)
    _, other = accept.agent(root(agent()), settings=settings, profiles=PROFILES)
    rendered = [*render_tool.children(recipe, settings=settings), *render_tool.guards(recipe, settings=settings)]
    shapes = {ownership.sent(document) for document in (*rendered, render_agent.service_account(other))}
    assert len(shapes) == 5
