"""A controller that is bound to some namespaces: it follows these, needs no right anywhere else, and judges each of its watches for itself."""

import asyncio
import contextlib
import json

import controller_process as process
import pytest
from controller_world import agent, node, the_policy, tool

import charts_render as chart
from aion.api import labels
from aion.controller import kube, listing, watch
from aion.controller.feed import Feed
from aion.controller.queue import Queue
from aion.controller.settings import Settings
from aion.controller.store import Store
from aion.controller.testing import FakeCluster
from aion.controller.views import Key
from aion.controller.watches import SILENT_S, Watches
from apiserver_fixture import free_ports

OURS = ("tenant-a", "tenant-b")
SYSTEM = "aion-system"


def home(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def tenant(name):
    return {"apiVersion": "aion.os/v1", "kind": "Tenant", "metadata": {"name": name}, "spec": {}}


def test_by_default_the_whole_cluster_is_followed():
    assert Settings().namespaces == ()
    assert listing.within((), release=SYSTEM) == listing.WATCHED
    assert not listing.followed_apart(())


def test_the_environment_names_the_namespaces_as_the_chart_writes_them(monkeypatch):
    monkeypatch.setenv("AION_NAMESPACES", json.dumps(OURS))
    assert Settings().namespaces == OURS


def test_a_bound_controller_follows_each_kind_in_each_namespace_and_by_name_what_lies_in_none():
    found = listing.within(OURS, release=SYSTEM)
    assert {each.resource for each in found} == {each.resource for each in listing.WATCHED}
    for each in found:
        if each.resource in (kube.TENANTS, kube.NAMESPACES):
            assert each.name in OURS
        elif each.resource is kube.POLICIES:
            assert each.namespace == SYSTEM
        elif each.resource is not kube.NODES:
            assert each.namespace in OURS
    assert len(found) == 2 * (len(listing.WATCHED) - 2) + 2


@pytest.mark.apiserver
def test_the_chart_of_a_namespaced_installation_gives_a_right_to_each_list_and_to_no_other():
    granted = {
        (role["metadata"].get("namespace", ""), resource, name)
        for role in (*chart.of("Role", *chart.BOUND), *chart.of("ClusterRole", *chart.BOUND))
        if role["metadata"]["name"].startswith("aion-controller")
        for rule in role["rules"]
        if {"list", "watch"} <= set(rule["verbs"])
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }
    asked = {(each.namespace, each.resource.plural, each.name) for each in listing.within(OURS, release=SYSTEM)}
    assert granted == asked


@contextlib.asynccontextmanager
async def following(cluster):
    store, queue = Store(), Queue[Key]()
    feed = Feed(store, queue)
    watches = Watches(apart=listing.followed_apart(OURS))
    watched = listing.within(OURS, release=SYSTEM)
    task = asyncio.create_task(watch.run(cluster, watched, store=store, feed=feed, watches=watches))
    try:
        await asyncio.wait_for(feed.synced.wait(), 5)
        yield store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        queue.close()


async def test_what_lies_elsewhere_is_never_seen_neither_at_first_nor_later():
    cluster = FakeCluster()
    for name in (*OURS, "elsewhere"):
        for document in (
            home(name),
            tenant(name),
            agent(namespace=name),
            tool(namespace=name),
            the_policy(namespace=name),
        ):
            cluster.person_applies(document)
    cluster.person_applies(the_policy())
    cluster.person_applies(node())
    async with following(cluster) as store:
        ours = {Key(kind, name, each) for name in OURS for kind, each in (("Agent", "a"), ("Tool", "t"))}
        ours |= {Key("Tenant", "", name) for name in OURS} | {Key("Policy", SYSTEM, "aion")}
        assert set(store.roots()) == ours
        assert len(store.uids("Namespace")) == 2
        assert len(store.uids("Node")) == 1
        cluster.person_applies(agent("late", "elsewhere"))
        cluster.person_applies(agent("late", "tenant-b"))
        cluster.deleted("Tenant", "", "tenant-a")
        cluster.deleted("Tenant", "", "elsewhere")
        async with asyncio.timeout(5):
            while store.root(Key("Tenant", "", "tenant-a")) or not store.root(Key("Agent", "tenant-b", "late")):
                await asyncio.sleep(0.01)
        assert set(store.roots()) == ours - {Key("Tenant", "", "tenant-a")} | {Key("Agent", "tenant-b", "late")}


async def test_a_list_of_one_namespace_takes_nothing_of_another_for_deleted():
    cluster = FakeCluster()
    for name in OURS:
        for document in (tenant(name), agent(namespace=name)):
            cluster.person_applies(document)
    async with following(cluster) as store:
        before = set(store.roots())
        feed = Feed(store, Queue[Key]())
        for each in listing.within(OURS, release=SYSTEM):
            compared = await listing.compare(cluster, each, store=store, feed=feed)
            assert compared.healed == 0
        assert set(store.roots()) == before


def test_a_dead_watch_of_one_namespace_is_not_hidden_by_the_live_one_of_another():
    now = [1000.0]
    watches = Watches(apart=listing.followed_apart(OURS), clock=lambda: now[0])

    def pod(namespace, version):
        meta = {"name": "p", "namespace": namespace, "uid": namespace, "resourceVersion": str(version)}
        return {"kind": "Pod", "metadata": meta}

    watches.told(pod("tenant-b", 50))
    watches.wrote(pod("tenant-a", 40))
    now[0] += SILENT_S + 1
    watches.told(pod("tenant-b", 60))
    assert watches.check() == "Pod in tenant-a: what was written 180 s ago has not come back by the watch"
    watches.told(pod("tenant-a", 40))
    assert watches.check() is None
    now[0] += 7
    watches.told(pod("tenant-b", 70))
    assert watches.age_s("Pod") == 7, "the longest silence is the one to be told"


@pytest.mark.apiserver
def test_with_the_rights_of_a_namespaced_installation_it_serves_its_tenants_and_is_refused_nothing(apiserver, tmp_path):
    process.install(apiserver, tmp_path)
    everything = json.loads(json.dumps(process.rights(*chart.BOUND)))
    for document in everything:  # beside the rights of other tests: an account of its own
        meta = document["metadata"]
        for named in (meta, document.get("roleRef", {}), *document.get("subjects", ())):
            if named.get("name", "").startswith("aion-controller"):
                named["name"] = named["name"].replace("aion-", "bound-")
    process.apply(apiserver, *(home(name) for name in (*OURS, "elsewhere")), *everything)
    token = apiserver.kubectl("create", "token", "-n", SYSTEM, "bound-controller").stdout.strip()
    config = process.yaml.safe_load(apiserver.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    (tmp_path / "bound.kubeconfig").write_text(process.yaml.safe_dump(config))
    people = [d for name in (*OURS, "elsewhere") for d in (agent(namespace=name), tool(namespace=name), tenant(name))]
    process.apply(apiserver, *people, {**the_policy(), "spec": {"mode": "Off"}})
    (port,) = free_ports(1)
    run = process.Controller(
        tmp_path / "bound.kubeconfig",
        tmp_path,
        port=port,
        AION_NAMESPACES=json.dumps(OURS),
        AION_LEADER_ELECTION="false",
    )
    try:
        run.ready()
        for name in OURS:
            process.until(lambda name=name: _pods(apiserver, name), what=f"a Pod in {name}")
            apiserver.kubectl("wait", "--for=condition=Ready", "--timeout=20s", f"tenant/{name}")
        apiserver.kubectl("wait", "--for=condition=Ready", "--timeout=20s", "policies.aion.os/aion", "-n", SYSTEM)
        log = run.log.read_text()
        assert "forbidden" not in log, log
        assert not [line for line in log.splitlines() if '"error"' in line or '"warning"' in line]
        assert not _pods(apiserver, "elsewhere")
        for kind, name in (("agent", "a"), ("tool", "t"), ("tenant", "elsewhere")):
            found = json.loads(apiserver.kubectl("get", kind, name, "-n", "elsewhere", "-o", "json").stdout)
            assert "status" not in found
    finally:
        run.kill()
        apiserver.kubectl("delete", "agents,tools,pods", "--all", "-n", "elsewhere", "--wait=false")
        for name in OURS:
            apiserver.kubectl("delete", "agents,tools,pods", "--all", "-n", name, "--wait=false", "--grace-period=0")
        apiserver.kubectl("delete", "tenants", *OURS, "elsewhere", "--wait=false")
        apiserver.kubectl("delete", "policies.aion.os", "aion", "-n", SYSTEM, "--wait=false")


def _pods(apiserver, namespace):
    return apiserver.kubectl("get", "pods", "-n", namespace, "-l", labels.SELECTOR, "-o", "name").stdout
