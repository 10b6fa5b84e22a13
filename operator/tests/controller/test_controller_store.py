"""The store: what changed is noticed, noise is not, and a lost deletion is found."""

import copy

from aion.controller.store import Store
from aion.controller.views import Key

KEY = Key("Agent", "team", "a")


def agent(name="a", uid="u-a", generation=1, **meta):
    meta = {"name": name, "namespace": "team", "uid": uid, "generation": generation, **meta}
    return {"apiVersion": "aion.os/v1", "kind": "Agent", "metadata": meta, "spec": {"entry": "python -m x"}}


def pod(name="a-1", uid="u-p", owner="a", phase="Running", ready="True", **status):
    ref = {"apiVersion": "aion.os/v1", "kind": "Agent", "name": owner, "uid": f"u-{owner}", "controller": True}
    meta = {
        "name": name,
        "namespace": "team",
        "uid": uid,
        "ownerReferences": [ref],
        "labels": {"aion.os/template-hash": "h"},
    }
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": ready}], **status}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"nodeName": "n1"}, "status": status}


def node(ready=True, cpu="2"):
    labels = {"seccomp.aion.os/0123456789abcdef": "ready"} if ready else {}
    meta = {"name": "n1", "uid": "u-n", "labels": labels}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": meta,
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi"}},
    }


def test_an_agent_and_its_pod_lead_to_the_same_key():
    store = Store()
    assert store.upsert(agent()) == {KEY}
    assert store.upsert(pod()) == {KEY}
    seen = store.observe(KEY)
    assert seen.root.uid == "u-a"
    assert [p.name for p in seen.pods] == ["a-1"]
    assert seen.pods[0].ready


def test_an_event_that_changes_nothing_a_plan_reads_wakes_nobody():
    store = Store()
    store.upsert(pod())
    noise = copy.deepcopy(pod())
    noise["metadata"]["resourceVersion"] = "99"
    noise["metadata"]["managedFields"] = [{}]
    noise["status"]["conditions"][0]["lastProbeTime"] = "2026-01-01T00:00:00Z"
    assert store.upsert(noise) == set()
    told = pod(ready="False")
    told["metadata"]["resourceVersion"] = "100"
    assert store.upsert(told) == {KEY}


def test_a_view_does_not_keep_what_the_api_server_books():
    store = Store()
    document = agent(resourceVersion="5", managedFields=[{}])
    store.upsert(document)
    assert set(store.observe(KEY).root.document["metadata"]) == {"name", "namespace", "uid"}


def test_a_removed_pod_is_no_longer_seen_and_wakes_its_agent():
    store = Store()
    store.upsert(pod())
    assert store.remove("Pod", "u-p") == {KEY}
    assert store.remove("Pod", "u-p") == set()
    assert store.observe(KEY).pods == ()


def test_an_agent_made_again_under_its_old_name_survives_the_late_deletion_of_the_first():
    store = Store()
    store.upsert(agent(uid="first"))
    store.upsert(agent(uid="second"))
    store.remove("Agent", "first")
    assert store.observe(KEY).root.uid == "second"


def test_a_node_that_gains_a_profile_wakes_only_those_who_are_not_ready():
    store = Store()
    store.upsert(node(ready=False))
    store.upsert(pod())
    store.upsert(pod(name="b-1", uid="u-q", owner="b", ready="False"))
    assert store.upsert(node(ready=True)) == {Key("Agent", "team", "b")}
    assert store.upsert(node(ready=True, cpu="3")) == set()


def test_a_tools_pod_is_found_by_its_label_since_a_replicaset_owns_it():
    store = Store()
    document = pod()
    document["metadata"]["ownerReferences"] = [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "tool-x-1", "uid": "r", "controller": True}
    ]
    document["metadata"]["labels"]["aion.os/tool"] = "x"
    assert store.upsert(document) == {Key("Tool", "team", "x")}


def test_container_states_are_flattened_to_what_a_person_needs():
    store = Store()
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    last = {"terminated": {"exitCode": 127, "reason": "Error", "message": "no such program"}}
    store.upsert(pod(containerStatuses=[{"name": "agent", "state": waiting, "lastState": last, "restartCount": 3}]))
    (container,) = store.observe(KEY).pods[0].containers
    assert (container.state, container.reason, container.restarts) == ("waiting", "CrashLoopBackOff", 3)
    assert (container.last_exit_code, container.last_message) == (127, "no such program")


def test_a_sight_older_than_the_one_held_is_passed_over():
    store = Store()
    new, old = pod(ready="True"), pod(ready="False")
    new["metadata"]["resourceVersion"], old["metadata"]["resourceVersion"] = "12", "9"
    store.upsert(new)
    assert store.upsert(old) == set()
    assert store.observe(KEY).pods[0].ready


def test_a_deleted_object_does_not_return_by_a_late_page_of_a_list():
    store = Store()
    store.upsert(pod())
    store.remove("Pod", "u-p")
    assert store.upsert(pod()) == set()
    assert store.observe(KEY).pods == ()


def test_a_lost_account_wakes_its_agent():
    store = Store()
    ref = {"apiVersion": "aion.os/v1", "kind": "Agent", "name": "a", "uid": "u-a", "controller": True}
    meta = {"name": "agent-a", "namespace": "team", "uid": "u-sa", "ownerReferences": [ref]}
    store.upsert({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
    assert {child.name for child in store.observe(KEY).children} == {"agent-a"}
    assert store.remove("ServiceAccount", "u-sa") == {KEY}
    assert store.observe(KEY).children == frozenset()


def test_what_lost_its_label_and_got_it_back_is_seen_again_and_a_late_sight_of_what_is_gone_is_not():
    store, seen = Store(), pod()
    seen["metadata"]["resourceVersion"] = "5"
    store.upsert(seen)
    assert store.remove("Pod", seen["metadata"]["uid"], version=7) == {KEY}
    seen["metadata"]["resourceVersion"] = "7"
    assert store.upsert(seen) == set()
    seen["metadata"]["resourceVersion"] = "8"
    assert store.upsert(seen) == {KEY}
    store.remove("Pod", seen["metadata"]["uid"])
    seen["metadata"]["resourceVersion"] = "9"
    assert store.upsert(seen) == set()
