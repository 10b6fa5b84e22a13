"""Hands in the controller's objects while every label still says what it said: each field that is ours comes back, and what is others' stays."""

import time

import pytest

from aion.controller.kube import BY_KIND
from faulty import agent, told, tool

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(90)]

MANAGED_BY = "app.kubernetes.io/managed-by"
ENFORCE = "pod-security.kubernetes.io/enforce"
OPEN = [{}]  # one rule that names nobody: everybody

HANDS = (
    ("a ServiceAccount's token mounted", "ServiceAccount", "agent-a", {"automountServiceAccountToken": True}),
    ("a ServiceAccount's owner forgotten", "ServiceAccount", "agent-a", {"metadata": {"ownerReferences": None}}),
    ("a Deployment's image", "Deployment", "tool-t", [("/spec/template/spec/containers/1/image", "evil:1")]),
    ("a Deployment's profile", "Deployment", "tool-t", [("/spec/template/spec/containers/1/securityContext", {})]),
    ("a Deployment's replicas", "Deployment", "tool-t", {"spec": {"replicas": 5}}),
    ("a Service's port", "Service", "tool-t", [("/spec/ports/0/port", 9999)]),
    ("a Service's target", "Service", "tool-t", [("/spec/ports/0/targetPort", 9999)]),
    ("a Service's selector", "Service", "tool-t", {"spec": {"selector": {"app": "other"}}}),
    ("a Tool's network opened", "NetworkPolicy", "tool-t", {"spec": {"egress": OPEN}}),
    ("a Tool's disruption budget", "PodDisruptionBudget", "tool-t", {"spec": {"maxUnavailable": "100%"}}),
    ("a Tenant's network opened", "NetworkPolicy", "aion-tenant", {"spec": {"ingress": OPEN, "egress": OPEN}}),
    ("an Agent's network opened", "NetworkPolicy", "aion-agents", {"spec": {"egress": OPEN}}),
    ("a Tenant's quota raised", "ResourceQuota", "aion-tenant", {"spec": {"hard": {"pods": "999"}}}),
    ("a Tenant's quota lifted", "ResourceQuota", "aion-tenant", {"spec": {"hard": {"requests.cpu": None}}}),
    ("a Tenant's defaults", "LimitRange", "aion-tenant", [("/spec/limits/0/default/memory", "9Gi")]),
    ("a label that binds", "NetworkPolicy", "aion-tenant", {"metadata": {"labels": {"aion.os/tenant": None}}}),
    ("taken out of our sight", "ServiceAccount", "agent-a", {"metadata": {"labels": {MANAGED_BY: None}}}),
    ("taken out of our sight again", "ServiceAccount", "agent-a", {"metadata": {"labels": {MANAGED_BY: None}}}),
    ("taken out of our sight", "Deployment", "tool-t", {"metadata": {"labels": {MANAGED_BY: None}}}),
    ("edited after that", "Deployment", "tool-t", {"spec": {"replicas": 5}}),
)  # fmt: skip

FOREIGN = (
    ("ServiceAccount", "agent-a", {"imagePullSecrets": [{"name": "theirs"}]}),
    ("Deployment", "tool-t", {"spec": {"template": {"metadata": {"annotations": {"restartedAt": "now"}}}}}),
    ("Service", "tool-t", {"spec": {"sessionAffinity": "ClientIP"}}),
    ("NetworkPolicy", "tool-t", {"metadata": {"annotations": {"theirs": "kept"}}}),
    ("ResourceQuota", "aion-tenant", {"spec": {"hard": {"configmaps": "7"}}}),
    ("LimitRange", "aion-tenant", {"metadata": {"labels": {"theirs": "kept"}}}),
)


def patch(world, namespace, kind, name, change):
    path = BY_KIND[kind].path(namespace, name)
    if isinstance(change, list):
        steps = [{"op": "replace", "path": at, "value": value} for at, value in change]
        return world.must("PATCH", path, steps, kind="application/json-patch+json")
    return world.must("PATCH", path, change, kind="application/merge-patch+json")


def bare(world, namespace, kind, name):
    """The object without what the server keeps about it."""
    status, found = world.ask("GET", BY_KIND[kind].path(namespace, name))
    if status != 200:
        return None
    meta = {part: found["metadata"].get(part) for part in ("uid", "labels", "annotations", "ownerReferences")}
    return {**found, "metadata": meta, "status": None}


def as_it_was(world, namespace, kind, name, *, right, what="an edit"):
    world.until(lambda: bare(world, namespace, kind, name) == right, what=f"{kind}: {what}: healed", within=10)


@pytest.fixture
def bound(world, team):
    """A Tenant over the test's namespace, with an Agent and a Tool in it; everything is there."""
    meta, quota = {"name": team}, {"pods": 50, "cpu": "8000m", "mem": "8192Mi"}
    tenant = {"apiVersion": "aion.os/v1", "kind": "Tenant", "metadata": meta, "spec": {"quota": quota}}
    world.must("POST", "/apis/aion.os/v1/tenants", tenant)
    world.create(agent(team))
    world.create(tool(team, replicas=2, resources={"cpu": "1000m", "mem": "1024Mi"}))  # stored as "1" and "1Gi"

    def whole():
        world.settle(team)
        made = {(kind, name) for _, kind, name, _ in HANDS}
        world.until(lambda: all(bare(world, team, *each) for each in made), what="every child")
        return made

    yield whole
    world.ask("DELETE", f"/apis/aion.os/v1/tenants/{team}")


def quiet(run, *, seconds=1.5):
    """Wait until the controller writes no more; answers what it has written."""
    before = None
    while before != (before := run.writes()):
        time.sleep(seconds)
    return before


def test_a_child_that_somebody_edited_is_as_it_was_and_then_all_is_quiet(world, team, bound, recovered):
    run = world.controller()
    bound()
    quiet(run)
    worst = 0.0
    for what, kind, name, change in HANDS:
        right = bare(world, team, kind, name)
        began = time.monotonic()
        patch(world, team, kind, name, change)
        as_it_was(world, team, kind, name, right=right, what=what)
        worst = max(worst, time.monotonic() - began)
    namespace, began = f"/api/v1/namespaces/{team}", time.monotonic()
    opened = {"metadata": {"labels": {ENFORCE: "privileged"}}}
    world.must("PATCH", namespace, opened, kind="application/merge-patch+json")
    world.until(lambda: world.must("GET", namespace)["metadata"]["labels"][ENFORCE] == "restricted", what="the label")
    recovered(f"{len(HANDS) + 1} edits healed, the slowest", max(worst, time.monotonic() - began))
    before = quiet(run)
    time.sleep(2)
    assert run.writes() == before


def test_a_pod_that_lost_labels_or_an_image_gets_them_back_and_is_still_known_for_ready(world, team, recovered):
    run = world.controller()
    world.create(agent(team))
    world.settle(team)
    name = world.one(team, "agents")["status"]["podName"]
    right = bare(world, team, "Pod", name)
    began = time.monotonic()
    for label in (MANAGED_BY, "aion.os/agent", "aion.os/template-hash", MANAGED_BY):
        patch(world, team, "Pod", name, {"metadata": {"labels": {label: None}}})
        as_it_was(world, team, "Pod", name, right=right, what=label)
    patch(world, team, "Pod", name, [("/spec/containers/1/image", "evil:1")])
    as_it_was(world, team, "Pod", name, right=right, what="its image")
    recovered("four labels and an image back", time.monotonic() - began)
    patch(world, team, "Pod", name, {"metadata": {"labels": {"theirs": "kept"}}})
    before = quiet(run)
    says = {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"}
    world.merge(team, "pods", name, {"status": says}, subresource="status")
    world.until(lambda: told(world.one(team, "agents"))["status"] == "True", what="the Agent's readiness")
    assert quiet(run) == {**before, ("Agent", "status", "apply"): before["Agent", "status", "apply"] + 1}


def test_what_others_add_to_a_child_is_left_alone_and_costs_no_write(world, team, bound):
    run = world.controller()
    bound()
    before = quiet(run)
    for kind, name, change in FOREIGN:
        patch(world, team, kind, name, change)
    edited = {(kind, name): bare(world, team, kind, name) for kind, name, _ in FOREIGN}
    assert quiet(run) == before
    # A hand in a field of ours: that comes back, and theirs beside it stays.
    patch(world, team, "ServiceAccount", "agent-a", {"automountServiceAccountToken": True})
    patch(world, team, "ResourceQuota", "aion-tenant", {"spec": {"hard": {"pods": "999"}}})
    world.until(
        lambda: all(bare(world, team, *each) == document for each, document in edited.items()), what="both as they were"
    )


def test_an_edit_while_no_controller_looks_is_healed_by_the_next_and_the_untouched_cost_it_nothing(
    world, team, bound, recovered
):
    run = world.controller()
    made = bound()
    quiet(run)
    run.kill()
    right = bare(world, team, "LimitRange", "aion-tenant")
    untouched = {each: bare(world, team, *each) for each in made}
    patch(world, team, "LimitRange", "aion-tenant", [("/spec/limits/0/default/memory", "9Gi")])
    run = world.controller()
    began = time.monotonic()
    as_it_was(world, team, "LimitRange", "aion-tenant", right=right)
    recovered("an edit of the meantime healed by the next controller", time.monotonic() - began)
    assert {kind: count for (kind, sub, verb), count in quiet(run).items() if verb == "apply" and not sub} == {
        "LimitRange": 1
    }
    assert {each: bare(world, team, *each) for each in made} == untouched
