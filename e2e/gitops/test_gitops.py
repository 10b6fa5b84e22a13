"""AION-OS under a real Argo CD: synced and healthy, healed, degraded with its reason, pruned; and nothing of ours makes it differ from git."""

import json
import time

import pytest
import yaml

from argo import Argo
from clusters import settings
from gitrepo import Repository
from installation import release
from installation.kubectl import Kubectl

OURS = "aion-controller"
ARGOS = ("argocd.argoproj.io/", "kubectl.kubernetes.io/last-applied-configuration")
CODE = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nwhile True: signal.pause()\n"
QUIET_S = 20


def home(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def tenant(name):
    return {"apiVersion": "aion.os/v1", "kind": "Tenant", "metadata": {"name": name}, "spec": {"quota": {"pods": 20}}}


def code(name):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-src"}, "data": {"agent.py": CODE}}


def agent(name, **spec):
    plain = {
        "version": "1.0.0",
        "entry": "python3 -u agent.py",
        "source": {"configMap": f"{name}-src"},
        "priority": 5,
        "capabilities": {"network": False},
        "resources": {"cpu": "20m", "mem": "64Mi"},
    }
    return {"apiVersion": "aion.os/v1", "kind": "Agent", "metadata": {"name": name}, "spec": plain | spec}


def sample(name):
    return yaml.safe_load((release.CRDS / f"samples/{name}.yaml").read_text())


def team(name):
    """What a team keeps in git: its namespace, what binds it, two Tools, two Agents."""
    return {
        "team/namespace.json": home(name),
        "team/tenant.json": tenant(name),
        "team/dates.json": sample("dates"),
        "team/word-count.json": sample("word-count"),
        **{f"team/{each}-src.json": code(each) for each in ("clerk", "scribe")},
        "team/clerk.json": agent("clerk", tools=["dates"]),
        "team/scribe.json": agent("scribe"),
    }


def synced(argo: Argo, repository: Repository, name: str, documents, *, server_side=True):
    """The Application of these documents, once it is synced and healthy, and how long that took."""
    revision = repository.commit("all of it", documents)
    source = {"repoURL": repository.url, "path": "team"}
    application = argo.application(name, source=source, namespace=name, owns=True, server_side=server_side)
    return application, application.wait(revision=revision)


def until(true, *, seconds=60.0):
    """How long it took until `true()`; fails where it never is."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.parametrize("server_side", [True, False], ids=["server-side", "client-side"])
def test_a_team_in_git_is_synced_and_healthy_and_nothing_that_we_write_makes_it_differ(  # noqa: PLR0917 - fixtures come by name
    argo, kubectl, repository, name, took, server_side
):
    application, seconds = synced(argo, repository, name, team(name), server_side=server_side)
    took("2 Agents, 2 Tools, a Tenant synced and healthy", seconds)
    try:
        for kind, each in (("Agent", "clerk"), ("Agent", "scribe"), ("Tool", "dates"), ("Tenant", name)):
            assert application.resource(kind, each)["health"]["status"] == "Healthy"
        before = application.syncs()
        until_ = time.monotonic() + QUIET_S
        application.refresh(how="hard")
        while time.monotonic() < until_:
            assert application.get()["status"]["sync"]["status"] == "Synced", application.told()
            time.sleep(0.5)
        assert application.syncs() == before, "nothing had to be healed"
        for kind, each in (("agent", "clerk"), ("tool", "dates"), ("tenant", name), ("configmap", "clerk-src")):
            assert_ours_alone_is_the_status(kubectl, kind, each, name)
    finally:
        took("all of it pruned", application.delete())
    assert not left(kubectl, name)


def assert_ours_alone_is_the_status(kubectl: Kubectl, kind: str, each: str, namespace: str):
    """By what the API server says of who wrote which field."""
    found = kubectl.get(kind, each, "-n", namespace, "--show-managed-fields")
    meta = found["metadata"]
    written = [entry for entry in meta["managedFields"] if entry["manager"] == OURS]
    assert {entry.get("subresource") for entry in written} <= {"status"}, written
    assert all(set(entry["fieldsV1"]) == {"f:status"} for entry in written)
    assert not meta.get("finalizers")
    assert not [key for key in meta.get("annotations", {}) if not key.startswith(ARGOS)]
    assert not meta.get("labels")


def left(kubectl: Kubectl, namespace: str):
    """What is still there of a team, the namespace included."""
    found = kubectl.run("get", "namespace,tenant", namespace, "--ignore-not-found", "-o", "name").split()
    return (
        found
        + kubectl.run(
            "get", "agents,tools,pods,deployments", "-n", namespace, "--ignore-not-found", "-o", "name"
        ).split()
    )


def test_a_field_that_somebody_edits_by_hand_is_healed_and_so_is_a_deleted_child(argo, kubectl, repository, name, took):
    application, _ = synced(argo, repository, name, team(name))
    try:

        def priority():
            return kubectl.get("agent", "clerk", "-n", name)["spec"]["priority"]

        kubectl.run("patch", "agent", "clerk", "-n", name, "--type=merge", "-p", json.dumps({"spec": {"priority": 9}}))
        took("the edited field healed", until(lambda: priority() == 5))
        took("synced and healthy again", application.wait())

        kubectl.run("delete", "agent", "scribe", "-n", name)
        took(
            "the deleted Agent made again",
            until(lambda: "scribe" in kubectl.run("get", "agents", "-n", name, "-o", "name")),
        )
        took("synced and healthy again", application.wait())
    finally:
        application.delete()


def test_a_broken_agent_is_degraded_with_its_reason_until_git_mends_it(argo, repository, name, took):
    application, _ = synced(argo, repository, name, team(name))
    try:
        broken = repository.commit(
            "a profile that is not there", {"team/clerk.json": agent("clerk", sandboxProfile="nowhere")}
        )
        application.refresh()
        took("pushed and degraded", application.wait(revision=broken, health="Degraded"))
        told = application.resource("Agent", "clerk")["health"]
        assert told["status"] == "Degraded"
        assert application.resource("Agent", "scribe")["health"]["status"] == "Healthy"
        seen = _offline(argo, "clerk", name)
        assert "STATUS: Degraded" in seen
        assert "MESSAGE: ProfileNotFound: spec.sandboxProfile: got 'nowhere', expected one of" in seen

        resting = repository.commit("let it rest", {"team/clerk.json": agent("clerk", operatingMode="Suspended")})
        application.refresh()
        took("pushed and suspended", application.wait(revision=resting, health="Suspended"))

        mended = repository.commit("mended", {"team/clerk.json": agent("clerk")})
        application.refresh()
        took("pushed and healthy", application.wait(revision=mended))
    finally:
        application.delete()


def _offline(argo: Argo, agent_name: str, namespace: str) -> str:
    """What `argocd admin` says of the object as it stands in the cluster, by the fragment alone."""
    at = argo.folder / "one.json"
    at.write_text(json.dumps(argo.kubectl.get("agent", agent_name, "-n", namespace)))
    return argo.admin("settings", "resource-overrides", "health", str(at))


def test_what_git_no_longer_holds_is_pruned_with_its_children(argo, kubectl, repository, name, took):
    application, _ = synced(argo, repository, name, team(name))
    try:
        less = repository.commit(
            "without the scribe and its tool",
            {"team/scribe.json": None, "team/scribe-src.json": None, "team/word-count.json": None},
        )
        application.refresh()
        took("pruned and healthy", application.wait(revision=less))

        def names():
            return kubectl.run("get", "agents,tools,deployments,pods", "-n", name, "-o", "name")

        assert not [each for each in names().split() if "scribe" in each and "agent" in each]
        took("their children gone", until(lambda: "scribe" not in names() and "word-count" not in names()))
        assert "clerk" in names()
    finally:
        application.delete()


def test_the_chart_from_git_takes_over_what_helm_installed_without_restarting_a_pod(argo, kubectl, repository, took):
    """With a changed policy in between, and without pruning the installation that other scenarios need."""
    values = json.loads((settings.read().state / "values.json").read_text())
    assert_installed_by_this_chart(kubectl)
    revision = repository.copy("the chart", release.CHART, "chart")
    pods = running_pods(kubectl)

    def source(**more):
        return {
            "repoURL": repository.url,
            "path": "chart",
            "helm": {"releaseName": release.RELEASE, "valuesObject": values | more},
        }

    application = argo.application("aion-os", source=source(), namespace=release.NAMESPACE, owns=False)
    try:
        took("synced and healthy", application.wait(revision=revision))
        assert running_pods(kubectl) == pods
        before = application.syncs()
        application.refresh(how="hard")
        time.sleep(QUIET_S)
        assert application.get()["status"]["sync"]["status"] == "Synced", application.told()
        assert application.syncs() == before, "the chart rendered again is the same"

        kubectl.run("scale", "deployment", "aion-controller", "-n", release.NAMESPACE, "--replicas=1")
        took(
            "scaled back",
            until(
                lambda: kubectl.get("deployment", "aion-controller", "-n", release.NAMESPACE)["spec"]["replicas"] == 2
            ),
        )

        old = pointer(kubectl)
        argo.application(
            "aion-os", source=source(policy={"limits": {"max_concurrency": 7}}), namespace=release.NAMESPACE, owns=False
        )
        took("another policy in force", until(lambda: pointer(kubectl)["digest"] != old["digest"], seconds=180))
        assert pointer(kubectl)["revision"] == old["revision"] + 1
        took("synced and healthy", application.wait())
        took(
            "the old bundle pruned",
            until(
                lambda: (
                    not kubectl.run("get", "configmap", old["configMap"], "-n", release.NAMESPACE, "--ignore-not-found")
                )
            ),
        )
    finally:
        argo.application("aion-os", source=source(), namespace=release.NAMESPACE, owns=False)
        until(lambda: pointer(kubectl)["digest"] == old["digest"], seconds=180)
        application.wait()
        application.delete()


def assert_installed_by_this_chart(kubectl: Kubectl):
    """Else Argo CD would add objects that no release knows, and Helm would refuse the next upgrade."""
    where = ("--namespace", release.NAMESPACE)
    values = str(settings.read().state / "values.json")
    held = kubectl.helm("get", "manifest", release.RELEASE, *where)
    rendered = kubectl.helm(
        "template", release.RELEASE, str(release.CHART), *where, "--values", values, "--kube-version", "1.34.0"
    )
    assert named(held) == named(rendered), "the installation is of another chart: run `e2e/up` first"


def named(manifest: str):
    found = (each for each in yaml.safe_load_all(manifest) if each)
    return {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in found}


def pointer(kubectl: Kubectl):
    return kubectl.get("policy.aion.os", "aion", "-n", release.NAMESPACE)["status"]["active"]


def running_pods(kubectl: Kubectl):
    found = kubectl.get("pods", "-n", release.NAMESPACE)["items"]
    return sorted(each["metadata"]["uid"] for each in found if "deletionTimestamp" not in each["metadata"])
