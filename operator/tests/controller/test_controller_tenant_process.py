"""Tenants, Tools' guards and Agents' files by the whole process with the chart's rights, against a real API server."""

import json
import socket
import time
import uuid

import pytest
from controller_process import Controller, apply, install, until

pytestmark = pytest.mark.apiserver


@pytest.fixture
def running(apiserver, tmp_path_factory):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    folder = tmp_path_factory.mktemp("tenants")
    made = Controller(install(apiserver, folder), folder, port=port).ready()
    yield made
    if made.process.poll() is None:
        made.kill()


def get(server, kind, name, namespace=""):
    where = ("-n", namespace) if namespace else ()
    found = server.kubectl("get", kind, name, *where, "-o", "json", "--ignore-not-found").stdout
    return json.loads(found) if found else None


def ready(document):
    found = (document or {}).get("status", {}).get("conditions", ())
    return next((each for each in found if each["type"] == "Ready"), {})


def test_a_tenant_its_tool_and_its_agents_files(apiserver, running):
    """One story, because each start of a process costs seconds: bind, rest, heal, turn the key, change the files."""
    team = f"team-{uuid.uuid4().hex[:6]}"

    def tenant(**spec):
        meta = {"name": team}
        spec = {"quota": {"pods": 9, "cpu": "15500m"}, "network": {"egress": [{"cidr": "203.0.113.0/24"}]}, **spec}
        apply(apiserver, {"apiVersion": "aion.os/v1", "kind": "Tenant", "metadata": meta, "spec": spec})

    tenant()
    until(
        lambda: ready(get(apiserver, "tenant", team)).get("reason") == "TenantNamespaceMissing", what="the word on it"
    )
    labels = {"theirs": "yes"}
    apply(apiserver, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": team, "labels": labels}})
    until(lambda: ready(get(apiserver, "tenant", team)).get("status") == "True", what="the namespace bound")
    worn = get(apiserver, "namespace", team)["metadata"]["labels"]
    assert worn["pod-security.kubernetes.io/enforce"] == "restricted"
    assert (worn["aion.os/tenant"], worn["theirs"]) == (team, "yes")
    assert get(apiserver, "resourcequota", "aion-tenant", team)["spec"]["hard"]["requests.cpu"] == "15500m"
    assert get(apiserver, "limitrange", "aion-tenant", team)
    assert set(get(apiserver, "secret", "aion-tenant-keys", team)["data"]) == {"default"}

    files = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "src", "namespace": team}}
    meta = {"namespace": team}
    tool = {"version": "1.0.0", "entry": "wasm:tools/t.wasm", "replicas": 2}
    agent = {"version": "1.0.0", "entry": "python -m x", "source": {"configMap": "src"}, "tools": ["t"]}
    used = {"hard": {"pods": "9", "requests.cpu": "15500m"}, "used": {"pods": "0", "requests.cpu": "0"}}
    apiserver.kubectl(
        "patch", "quota", "aion-tenant", "-n", team, "--subresource=status", "--type=merge",
        "-p", json.dumps({"status": used}),
    )  # fmt: skip
    apply(
        apiserver,
        {**files, "data": {"main.py": "print(1)"}},
        {"apiVersion": "aion.os/v1", "kind": "Tool", "metadata": {**meta, "name": "t"}, "spec": tool},
        {"apiVersion": "aion.os/v1", "kind": "Agent", "metadata": {**meta, "name": "a"}, "spec": agent},
    )
    pod = until(lambda: (get(apiserver, "agent", "a", team).get("status") or {}).get("podName"), what="the Pod")
    assert get(apiserver, "pod", pod, team)["metadata"]["annotations"]["aion.os/source-digest"]
    until(lambda: get(apiserver, "pdb", "tool-t", team), what="the disruption budget")

    time.sleep(1)
    quiet = running.writes()
    time.sleep(2)
    assert running.writes() == quiet, "what the server stores is what was sent: nothing is written over and over"

    for name in ("aion-tenant", "aion-agents", "tool-t"):
        wanted = get(apiserver, "networkpolicy", name, team)["spec"]
        opened = json.dumps([{"op": "add", "path": "/spec/ingress", "value": [{}]}])
        apiserver.kubectl("patch", "networkpolicy", name, "-n", team, "--type=json", "-p", opened)
        until(lambda name=name, wanted=wanted: get(apiserver, "networkpolicy", name, team)["spec"] == wanted)

    tenant(auth={"keyRevision": 1})
    until(lambda: len(get(apiserver, "secret", "aion-tenant-keys", team)["data"]) == 2, what="a second key")
    keys = until(lambda: [k for k in get(apiserver, "tenant", team)["status"]["keys"] if k.get("until")], what="an end")
    assert [key["id"] for key in keys] == ["default"]

    apply(apiserver, {**files, "data": {"main.py": "print(2)"}})
    apiserver.kubectl("annotate", "agent", "a", "-n", team, "look=now")
    until(
        lambda: get(apiserver, "agent", "a", team)["status"].get("podName") not in (pod, None),
        what=f"another Pod, see {running.log}",
    )
    assert running.stop() == 0
    assert '"error"' not in running.log.read_text()
