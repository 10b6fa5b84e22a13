"""Hands in the controller's objects, objects that go away under it, and fields that it does not know."""

import json
import time

import pytest

from faulty import agent, told, tool

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(60)]

CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/agents.aion.os"
JSON_PATCH = "application/json-patch+json"


def test_children_that_somebody_deleted_come_back(world, team, recovered):
    world.controller()
    world.create(agent(team))
    world.create(tool(team))
    world.settle(team)
    world.until(
        lambda: world.one(team, "deployments", "tool-t") and world.one(team, "services", "tool-t"), what="the Tool"
    )
    began = time.monotonic()
    uids = {}
    for plural in ("pods", "serviceaccounts", "services", "deployments"):
        for each in world.items(team, plural):
            uids[each["metadata"]["uid"]] = plural
            world.delete(team, plural, each["metadata"]["name"])

    def whole():
        now = {plural: [each["metadata"]["uid"] for each in world.items(team, plural)] for plural in set(uids.values())}
        return all(found and not set(found) & set(uids) for found in now.values())

    world.until(whole, what="new children")
    recovered("Pod, ServiceAccount, Service and Deployment back", time.monotonic() - began)
    assert world.settled(team) == ""


def test_an_agent_deleted_while_its_pod_is_pending_leaves_nothing(world, team, recovered):
    world.controller()
    for n in range(10):
        world.create(agent(team, f"a{n}"))
        if n % 2:
            time.sleep(0.05)
        assert world.delete(team, "agents", f"a{n}") == 200
    world.create(agent(team))
    world.settle(team)
    assert world.items(team, "pods")[0]["spec"].get("nodeName") is None
    began = time.monotonic()
    world.delete(team, "agents", "a")
    world.until(
        lambda: not [each for plural in ("pods", "serviceaccounts") for each in world.items(team, plural)],
        what="an empty namespace",
    )
    recovered("no child left", time.monotonic() - began)


def test_a_namespace_in_deletion_is_left_alone_and_ends(world, recovered):
    run = world.controller()
    name = world.namespace()
    for n in range(10):
        world.create(agent(name, f"a{n}"))
    began = time.monotonic()
    world.must("DELETE", f"/api/v1/namespaces/{name}")
    world.until(lambda: world.ask("GET", f"/api/v1/namespaces/{name}")[0] == 404, what="the namespace's end", within=40)
    recovered("the namespace is gone", time.monotonic() - began)
    time.sleep(0.5)
    quiet = run.writes()
    time.sleep(1.5)
    assert run.writes() == quiet
    assert "reconcile.bug" not in run.log.read_text()


def test_a_field_of_a_newer_version_is_no_reason_to_stop(world, team):
    world.controller()
    crd = world.must("GET", CRD)
    known = len(crd["spec"]["versions"])
    at = next(n for n in range(known) if crd["spec"]["versions"][n]["name"] == "v1")
    spec = f"/spec/versions/{at}/schema/openAPIV3Schema/properties/spec/properties/fromTheFuture"
    text = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    world.must("PATCH", CRD, [{"op": "add", "path": spec, "value": text}], kind=JSON_PATCH)
    try:
        document = agent(team, fromTheFuture={"mode": ["x"]})
        world.until(lambda: _took(world, document), what="the new schema")
        world.settle(team)
        found = world.one(team, "agents")
        assert found["spec"]["fromTheFuture"] == {"mode": ["x"]}, json.dumps(found["spec"])
        assert told(found, "Accepted")["status"] == "True"
        assert told(found, "Stalled") is None or told(found, "Stalled")["status"] == "False"
    finally:
        world.must("PATCH", CRD, [{"op": "remove", "path": spec}], kind=JSON_PATCH)


def _took(world, document):
    """The API server takes a schema over a moment after it was stored, and prunes what it does not know until then."""
    found = world.create(document)
    if "fromTheFuture" in found["spec"]:
        return True
    world.delete(document["metadata"]["namespace"], "agents", document["metadata"]["name"])
    return False
