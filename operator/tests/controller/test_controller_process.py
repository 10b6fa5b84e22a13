"""The process as the chart runs it, with the chart's rights, against a real API server: a test plays scheduler, kubelet and people."""

import json
import socket
import time
import uuid

import pytest
from controller_process import SYSTEM, Controller, apply, install, until, vacate

from aion.api import policy
from aion.controller.__main__ import installed

pytestmark = pytest.mark.apiserver


@pytest.fixture(scope="module")
def installation(apiserver, tmp_path_factory):
    kubeconfig = install(apiserver, tmp_path_factory.mktemp("controller"))
    profile = f"seccomp.aion.os/{installed()['sealed'][:16]}"
    apply(apiserver, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {profile: "ready"}}})
    meta = {"name": "aion", "namespace": SYSTEM}
    apply(apiserver, {"apiVersion": "aion.os/v1", "kind": "Policy", "metadata": meta, "spec": {"mode": "Off"}})
    return kubeconfig


@pytest.fixture
def controller(apiserver, installation, tmp_path):
    made = []

    def start(*, wait=True, **more):
        vacate(apiserver)
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
        made.append(Controller(installation, tmp_path, port=port, **more))
        return made[-1].ready() if wait else made[-1]

    yield start
    for each in made:
        if each.process.poll() is None:
            each.kill()


@pytest.fixture
def team(apiserver):
    name = f"team-{uuid.uuid4().hex[:6]}"
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply(apiserver, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": enforced}})
    return name


def agent(namespace, name="a", **spec):
    meta = {"name": name, "namespace": namespace}
    spec = {"version": "1.0.0", "entry": "python -m x", **spec}
    return {"apiVersion": "aion.os/v1", "kind": "Agent", "metadata": meta, "spec": spec}


def listed(server, kinds, namespace):
    return json.loads(server.kubectl("get", kinds, "-n", namespace, "-o", "json").stdout)["items"]


def told(document, kind="Ready"):
    found = document.get("status", {}).get("conditions", ())
    return next((condition for condition in found if condition["type"] == kind), None)


def waits(server, namespace, kind="agent", name="a", reason=""):
    def look():
        found = json.loads(server.kubectl("get", kind, name, "-n", namespace, "-o", "json").stdout)
        ready = told(found)
        return found if ready and (not reason or ready["reason"] == reason) else None

    return until(look, what=f"Ready with reason {reason or 'any'} on {kind} {name}")


def pointer(server):
    found = json.loads(server.kubectl("get", "policy", "aion", "-n", SYSTEM, "-o", "json").stdout)
    return found.get("status", {}).get("active")


def kubelet(server, pod, *, ready):
    """Bind the Pod and report its containers."""
    meta = pod["metadata"]
    if not pod["spec"].get("nodeName"):
        target = {"apiVersion": "v1", "kind": "Node", "name": "n1"}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta["name"]}, "target": target}
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/binding"
        server.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    containers = [
        {"name": each["name"], "ready": ready, "restartCount": 0, "state": state, "image": "x", "imageID": "x"}
        for each in pod["spec"]["containers"]
    ]
    conditions = [{"type": "Ready", "status": str(ready)}, {"type": "PodScheduled", "status": "True"}]
    status = {"phase": "Running", "conditions": conditions, "containerStatuses": containers}
    patch = json.dumps({"status": status})
    server.kubectl(
        "patch", "pod", meta["name"], "-n", meta["namespace"], "--subresource=status", "--type=merge", "-p", patch
    )


def test_an_agent_and_a_tool_from_their_files_to_ready_and_then_silence(apiserver, controller, team):
    """One story, because each start of a server's client costs a second: create, admit, count, run, idle, stop."""
    run = controller()
    until(lambda: pointer(apiserver), what="a policy in force")
    before = run.writes()
    apply(apiserver, agent(team))
    found = waits(apiserver, team, reason="Creating")
    (pod,) = listed(apiserver, "pods", team)  # the namespace enforces Pod Security `restricted`, and took it
    assert pod["metadata"]["name"] == found["status"]["podName"]
    assert [c["name"] for c in pod["spec"]["containers"]] == ["gateway", "agent"]
    assert pod["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]
    writes = {key: count - before.get(key, 0) for key, count in run.writes().items() if count != before.get(key)}
    assert writes == {
        ("Secret", "", "create"): 1,
        ("ServiceAccount", "", "apply"): 1,
        ("Pod", "", "apply"): 1,
        ("Agent", "status", "apply"): 1,
    }
    assert told(found, "PolicyBound")["status"] == "True"
    assert told(found, "ProfileReady")["status"] == "True"

    meta = {"name": "t", "namespace": team}
    spec = {"version": "1.0.0", "entry": "wasm:tools/t.wasm", "toolName": "web_search"}
    apply(apiserver, {"apiVersion": "aion.os/v1", "kind": "Tool", "metadata": meta, "spec": spec})
    kubelet(apiserver, pod, ready=True)
    apiserver.kubectl("wait", "--for=condition=Ready", "--timeout=10s", "-n", team, "agent/a")
    assert waits(apiserver, team, "tool", "t")["status"]["endpoint"] == f"http://tool-t.{team}.svc:8020"
    assert {each["kind"] for each in listed(apiserver, "deployments,services", team)} == {"Deployment", "Service"}

    quiet = run.writes()
    for each in listed(apiserver, "agents,tools,pods,serviceaccounts,services,deployments", team):
        assert "finalizers" not in each["metadata"]
        assert each["kind"] == "Deployment" or "annotations" not in each["metadata"]  # its own controller's revision
    time.sleep(2)
    assert run.writes() == quiet, "an idle controller writes nothing"
    assert run.page("/healthz") == (200, "ok\n")
    began = time.monotonic()
    assert run.stop() == 0
    assert time.monotonic() - began < 5
    log = run.log.read_text()
    assert [line for line in log.splitlines() if '"error"' in line or not line.startswith("{")] == []


def test_kill_minus_nine_in_the_middle_of_twenty_creations_loses_and_doubles_nothing(apiserver, controller, team):
    apply(apiserver, *(agent(team, f"a{n}") for n in range(20)))
    first = controller(wait=False, AION_WORKERS="1")
    until(lambda: first.writes().get(("Pod", "", "apply"), 0) >= 3, what="the third Pod")
    first.kill()
    assert 3 <= len(listed(apiserver, "pods", team)) < 20, "in the middle"
    apiserver.kubectl("delete", "agent", "-n", team, "a0")
    apply(apiserver, agent(team, "a1", priority=9))
    controller()

    def converged():
        agents = {each["metadata"]["uid"]: each for each in listed(apiserver, "agents", team)}
        pods = [pod for pod in listed(apiserver, "pods", team) if pod["metadata"]["labels"]["aion.os/agent"] != "a0"]
        owners = sorted(pod["metadata"]["ownerReferences"][0]["uid"] for pod in pods)
        said = all(
            told(each) and told(each)["observedGeneration"] == each["metadata"]["generation"]
            for each in agents.values()
        )
        changed = [
            pod["spec"]["priorityClassName"] for pod in pods if pod["metadata"]["labels"]["aion.os/agent"] == "a1"
        ]
        return said and owners == sorted(agents) and len(owners) == 19 and changed == ["aion-high"]

    until(converged, what="one Pod for each of 19 Agents, and none beside")


def bar(server, namespace, name):
    """A rule of the cluster's owners against the Pods of one Agent of this namespace, in force when this returns."""
    api, meta = "admissionregistration.k8s.io/v1", {"name": "bar-agents"}
    expression = f"object.metadata.?labels['aion.os/agent'].orValue('') != '{name}'"
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}]
    home = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    rule = {"matchConstraints": {"resourceRules": rules, "namespaceSelector": home}}
    rule |= {"validations": [{"expression": expression, "message": "nothing of that name runs here"}]}
    binding = {"policyName": "bar-agents", "validationActions": ["Deny"]}
    apply(
        server,
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": meta, "spec": rule},
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": meta, "spec": binding},
    )
    worn = {"name": "probe", "namespace": namespace, "labels": {"aion.os/agent": name}}
    sealed = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    sealed |= {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}  # Pod Security has its say before
    spec = {"containers": [{"name": "c", "image": "x", "securityContext": sealed}]}
    probe = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": worn, "spec": spec})
    dry = ("create", "--dry-run=server", "-f", "-")
    until(lambda: "of that name" in server.kubectl(*dry, stdin=probe, check=False).stderr, what="the rule in force")


def test_what_is_refused_becomes_a_condition_that_a_person_understands(apiserver, controller, team):
    apply(apiserver, agent(team, "lost", sandboxProfile="open"))
    hard = {"pods": "0"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": team}}
    apply(apiserver, {**quota, "spec": {"hard": hard}})
    used = json.dumps({"status": {"hard": hard, "used": {"pods": "0"}}})
    apiserver.kubectl("patch", "quota", "none", "-n", team, "--subresource=status", "--type=merge", "-p", used)
    apply(apiserver, agent(team), agent(team, "barred"), agent(team, "large", resources={"cpu": "4"}))
    bar(apiserver, team, "barred")
    limits = {"limits": [{"type": "Container", "max": {"cpu": "2"}, "default": {"cpu": "1"}}]}
    apply(
        apiserver,
        {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small", "namespace": team}, "spec": limits},
    )
    controller()
    barred = waits(apiserver, team, name="barred", reason="AdmissionRefused")
    assert "'bar-agents'" in told(barred)["message"]
    assert "nothing of that name runs here" in told(barred)["message"]
    assert "whoever keeps the policy" in told(barred)["message"]
    assert told(barred, "Stalled")["status"] == "True"
    large = waits(apiserver, team, name="large", reason="AdmissionRefused")
    assert "maximum cpu usage per Container is 2" in told(large)["message"]
    assert "A LimitRange of the namespace" in told(large)["message"]
    full = waits(apiserver, team, reason="QuotaExceeded")
    assert "limited: pods=0" in told(full)["message"]
    assert told(full, "Reconciling")["status"] == "True"
    lost = waits(apiserver, team, name="lost", reason="ProfileNotFound")
    assert "expected one of sealed" in told(lost)["message"]
    assert told(lost, "Stalled")["status"] == "True"
    assert listed(apiserver, "pods", team) == []


def test_another_bundle_moves_the_pointer_up_and_the_same_one_does_not(apiserver, controller):
    before = controller()
    first = until(lambda: pointer(apiserver), what="a pointer")
    before.kill()
    other = policy.Bundle.from_document({"schema": "aion.policy.v1", "capabilities": {"deny": ["gpu"]}})
    run = controller(bundle=other)
    digest = policy.digest(other)
    until(lambda: pointer(apiserver)["digest"] == digest, what="the move")
    moved = pointer(apiserver)
    assert (moved["revision"], moved["configMap"]) == (first["revision"] + 1, f"aion-policy-{digest[:12]}")
    run.kill()
    controller(bundle=other)
    time.sleep(0.5)
    assert pointer(apiserver) == moved


def test_without_rights_the_process_is_not_ready_and_says_which_are_missing(apiserver, controller):
    name = "aion-controller"
    apiserver.kubectl("delete", "clusterrolebinding", name)
    try:
        run = controller(wait=False)
        until(lambda: "forbidden" in run.log.read_text(), what="a word about the missing right")
        assert run.page("/readyz") == (503, "cluster: the first lists are not in yet\n")
        assert run.page("/healthz")[0] == 200
    finally:
        account = f"--serviceaccount={SYSTEM}:{name}"
        apiserver.kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", account)
