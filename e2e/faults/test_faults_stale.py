"""A memory that is five seconds behind: what is done on old sights is done once, and to nothing but what was seen.

No expectations are kept, as other controllers do for objects with random names: a name follows from what is wanted, a deletion names a uid, the answer to
a write is remembered at once, and an older sight that comes after it is passed over. These tests are the reason why that is enough.
"""

import collections
import threading
import time

import pytest

from faulty import agent
from stormy import Storm

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(90)]

LAG_S = 5.0


class Census:
    """Counts all Pods of a namespace again and again while the block lasts: how many of one Agent were alive at one moment."""

    def __init__(self, world, namespace):
        self._world = type(world)(
            world.server, world.kubeconfig, world.folder
        )  # its own connection, for its own thread
        self._namespace = namespace
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._count, daemon=True)
        self.most = 0

    def _count(self):
        while not self._over.wait(0.1):
            alive = collections.Counter()
            for pod in self._world.items(self._namespace, "pods"):
                if "deletionTimestamp" not in pod["metadata"]:
                    alive[pod["metadata"]["ownerReferences"][0]["uid"]] += 1
            self.most = max(self.most, *alive.values(), 0)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join(10)
        self._world.hang_up()


def pod_of(world, namespace, name):
    return world.one(namespace, "agents", name)["status"]["podName"]


def served(world, team, name):
    found = world.one(team, "agents", name)
    return bool(found and world.one(team, "pods", (found.get("status") or {}).get("podName", "-")))


def test_late_watches_make_no_second_pod_and_delete_none_that_they_have_not_shown(world, team, recovered):
    names = ("edited", "robbed", "undone", "reborn", "still")
    with Storm(world.server, world.kubeconfig, world.folder) as storm, Census(world, team) as census:
        storm.lag = LAG_S
        run = world.controller(kubeconfig=storm.kubeconfig)
        for name in names:
            world.create(agent(team, name))
        world.until(lambda: all(served(world, team, name) for name in names), what="five Pods")
        still = pod_of(world, team, "still")
        began = time.monotonic()
        world.merge(team, "agents", "edited", {"spec": {"priority": 9}})
        world.delete(team, "pods", pod_of(world, team, "robbed"))
        for priority in (9, None):  # the last Pod has the name of the first
            world.merge(team, "agents", "undone", {"spec": {"priority": priority}})
            time.sleep(1)
        world.delete(team, "agents", "reborn")
        world.create(agent(team, "reborn"))
        time.sleep(1)
        world.merge(team, "agents", "edited", {"metadata": {"labels": {"noted": "later"}}})
        world.settle(team)
        recovered(f"five changes seen {LAG_S:.0f} s late", time.monotonic() - began)
        time.sleep(LAG_S + 0.5)
        quiet, alive = run.writes(), {pod["metadata"]["uid"] for pod in world.items(team, "pods")}
        time.sleep(2)
        assert run.writes() == quiet
        assert {pod["metadata"]["uid"] for pod in world.items(team, "pods")} == alive
    assert world.settled(team) == ""
    assert world.one(team, "pods", still) is not None
    assert (len(alive), census.most) == (len(names), 1)
    ended = [sent for sent in storm.sent if sent.method == "DELETE" and "/pods/" in sent.path]
    assert ended
    meant = [sent.body["preconditions"]["uid"] for sent in ended]
    assert not set(meant) & alive
    done = [sent.body["preconditions"]["uid"] for sent in ended if sent.status == 200]
    assert len(done) == len(set(done))
    made = [sent for sent in storm.sent if sent.status == 201 and "/pods/" in sent.path]
    made = collections.Counter(sent.path.rpartition("/")[2].partition("-")[0] for sent in made)
    assert made.pop("undone") in (2, 3), "the first, perhaps the second, and the first again"
    assert made == {"edited": 2, "robbed": 2, "reborn": 2, "still": 1}
    assert all(sent.body["metadata"]["name"] for sent in storm.sent if sent.method == "POST"), "none is left to chance"


def test_late_watches_and_a_kill_turn_a_key_over_once_and_tell_an_event_once(world, team, recovered):
    tenants = "/apis/aion.os/v1/tenants"
    with Storm(world.server, world.kubeconfig, world.folder) as storm:
        storm.lag = LAG_S
        run = world.controller(kubeconfig=storm.kubeconfig)
        world.must("POST", tenants, {"apiVersion": "aion.os/v1", "kind": "Tenant", "metadata": {"name": team}})
        world.create(agent(team, "stuck", sandboxProfile="unheard-of"))
        world.until(lambda: keys_of(world, team)[0], what="the first key")

        def change(patch):
            world.must("PATCH", f"{tenants}/{team}", patch, kind="application/merge-patch+json")

        began = time.monotonic()
        for revision in (1, 2):
            change({"spec": {"auth": {"keyRevision": revision}}})
            for n in range(3):  # each is a sight that is older, when it comes, than what was announced meanwhile
                time.sleep(0.8)
                change({"metadata": {"labels": {"noted": f"{revision}-{n}"}}})
            if revision == 2:
                world.until(lambda: len(keys_of(world, team)[1]) > 2, what="the announcement of the third key")
                run.kill()
                run = world.controller(kubeconfig=storm.kubeconfig)
            world.until(lambda n=revision: settled_keys(world, team) == 1 + n, what=f"key {revision}")
        recovered("two keys turned over, a kill in between", time.monotonic() - began)
        time.sleep(LAG_S + 0.5)
        quiet = run.writes()
        time.sleep(1)
        assert run.writes() == quiet
    assert settled_keys(world, team) == 3
    turned = [sent for sent in storm.sent if sent.path.endswith("/secrets/aion-tenant-keys") and sent.status == 200]
    made = [name for sent in turned for name, value in sent.body["data"].items() if value]
    assert set(made) == set(keys_of(world, team)[0]) - {"default"}
    events = world.must("GET", f"/apis/events.k8s.io/v1/namespaces/{team}/events")["items"]
    assert [each["reason"] for each in events if each["regarding"]["name"] == "stuck"] == ["ProfileNotFound"]
    world.ask("DELETE", f"{tenants}/{team}")


def keys_of(world, namespace):
    """The ids in the Secret, and those that the Tenant's status tells of."""
    status, secret = world.ask("GET", f"/api/v1/namespaces/{namespace}/secrets/aion-tenant-keys")
    said = world.must("GET", f"/apis/aion.os/v1/tenants/{namespace}").get("status") or {}
    return sorted(secret["data"]) if status == 200 else [], sorted(each["id"] for each in said.get("keys", ()))


def settled_keys(world, namespace):
    """How many keys there are, where Secret and status agree."""
    held, said = keys_of(world, namespace)
    return len(held) if held == said else 0
