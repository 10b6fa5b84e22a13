"""The cluster in memory behaves as the real one where a reconciler can tell."""

import pytest
from controller_world import agent, node

from aion.controller import errors, kube
from aion.controller.testing import FakeCluster


def account(**labels):
    meta = {"name": "x", "namespace": "team", "labels": labels}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}


def pod(image="one", owner=None):
    meta = {"name": "p", "namespace": "team", "labels": {"app": "x"}}
    if owner:
        meta["ownerReferences"] = [{"kind": "Agent", "name": "a", "uid": owner, "controller": True}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [{"image": image}]}}


async def test_applying_again_takes_back_what_was_left_out_and_nothing_of_others():
    cluster = FakeCluster()
    await cluster.apply(account(one="1", two="2"))
    cluster._objects["ServiceAccount", "team", "x"].body["metadata"]["labels"]["theirs"] = "3"
    again = await cluster.apply(account(one="1"))
    assert again["metadata"]["labels"] == {"one": "1", "theirs": "3"}


async def test_applying_the_same_changes_nothing_and_tells_nobody():
    cluster, told = FakeCluster(), []
    first = await cluster.apply(account(one="1"))
    cluster.watchers.append(lambda kind, _body: told.append(kind))
    again = await cluster.apply(account(one="1"))
    assert (first, told) == (again, [])


async def test_a_status_is_written_by_its_subresource_alone_and_bumps_no_generation():
    cluster = FakeCluster()
    made = cluster.person_applies(agent())
    frame = {"apiVersion": "aion.os/v1", "kind": "Agent", "metadata": {"name": "a", "namespace": "team"}}
    said = await cluster.apply({**frame, "status": {"podName": "p", "queue": "high"}}, subresource="status")
    assert (said["status"], said["metadata"]["generation"]) == ({"podName": "p", "queue": "high"}, 1)
    said = await cluster.apply({**frame, "status": {"queue": "high"}}, subresource="status")
    assert said["status"] == {"queue": "high"}
    assert said["metadata"]["uid"] == made["metadata"]["uid"]
    assert cluster.person_applies(agent(priority=9))["metadata"]["generation"] == 2


async def test_a_stale_version_is_a_conflict_and_an_absent_object_is_not_found():
    cluster = FakeCluster()
    made = cluster.person_applies(agent())
    frame = {"apiVersion": "aion.os/v1", "kind": "Agent", "status": {"queue": "high"}}
    meta = {"name": "a", "namespace": "team", "resourceVersion": "999"}
    with pytest.raises(errors.Conflict):
        await cluster.apply({**frame, "metadata": meta}, subresource="status")
    meta["resourceVersion"] = made["metadata"]["resourceVersion"]
    await cluster.apply({**frame, "metadata": meta}, subresource="status")
    with pytest.raises(errors.NotFound):
        await cluster.apply({**frame, "metadata": {"name": "b", "namespace": "team"}}, subresource="status")


async def test_a_pods_spec_never_changes():
    cluster = FakeCluster()
    await cluster.apply(pod())
    with pytest.raises(errors.Refused, match="may not change"):
        await cluster.apply(pod("two"))


async def test_creating_leaves_alone_what_exists():
    cluster = FakeCluster()
    assert await cluster.create(account(one="1"))
    assert not await cluster.create(account(one="2"))
    assert cluster.get("ServiceAccount", "team", "x")["metadata"]["labels"] == {"one": "1"}


async def test_deleting_spares_another_uid_and_a_pod_on_a_node_first_stops():
    cluster = FakeCluster()
    made = await cluster.apply(pod())
    where = {"namespace": "team", "name": "p"}
    assert not await cluster.delete(kube.PODS, **where, uid="other")
    cluster.reported("Pod", "team", "p", {"phase": "Running"}, nodeName="n1")
    assert await cluster.delete(kube.PODS, **where, uid=made["metadata"]["uid"])
    assert "deletionTimestamp" in cluster.get("Pod", "team", "p")["metadata"]
    cluster.stopped()
    assert cluster.get("Pod", "team", "p") is None


async def test_what_an_object_owns_goes_with_it():
    cluster = FakeCluster()
    made = cluster.person_applies(agent())
    await cluster.apply(pod(owner=made["metadata"]["uid"]))
    cluster.deleted("Agent", "team", "a")
    assert cluster.get("Pod", "team", "p") is None


async def test_lists_follow_the_selector_and_give_copies():
    cluster = FakeCluster()
    await cluster.apply(pod())
    cluster.person_applies(node())
    (page,) = [each async for each in cluster.pages(kube.PODS, selector="app=x")]
    page.items[0]["spec"].clear()
    assert [each.items async for each in cluster.pages(kube.PODS, selector="app=y")] == [[]]
    assert cluster.get("Pod", "team", "p")["spec"]


async def test_a_fault_stops_a_write_which_is_counted_all_the_same():
    cluster = FakeCluster()
    cluster.fault = lambda _write, _document: errors.of(503, "away")
    with pytest.raises(errors.Unreachable):
        await cluster.apply(account())
    assert len(cluster.writes) == 1
    assert cluster.each("ServiceAccount") == ()


async def test_a_deaf_cluster_changes_unseen():
    cluster, told = FakeCluster(), []
    cluster.watchers.append(lambda kind, _body: told.append(kind))
    cluster.person_applies(agent())
    cluster.deaf = True
    cluster.person_applies(agent(priority=9))
    assert told == ["ADDED"]


async def test_an_unknown_kind_is_not_found():
    with pytest.raises(errors.NotFound):
        await FakeCluster().apply({"kind": "Gadget", "metadata": {"name": "x"}})


async def test_a_watch_tells_what_came_after_its_version_and_a_forgotten_one_is_refused():
    cluster = FakeCluster()
    await cluster.apply(pod())
    (page,) = [each async for each in cluster.pages(kube.PODS)]
    cluster.deleted("Pod", "team", "p")
    stream = cluster.watch(kube.PODS, since=page.version)
    assert (await anext(stream)).change == "DELETED"
    await stream.aclose()
    cluster.forget()
    with pytest.raises(errors.Expired):
        await anext(cluster.watch(kube.PODS, since=page.version))
