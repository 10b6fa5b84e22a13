"""The kernel against a real API server, with exactly the rights that the chart gives it."""

import asyncio
import base64
import json
import time
from pathlib import Path

import aiohttp
import pytest
import yaml
from kernel_scene import SECRET, Outsider, until

import charts_render
from aion.api import channel, labels
from aion.kernel import app, testing
from aion.kernel.cluster import ApiServer
from aion.kernel.memorystore import MemoryStore
from aion.kernel.tenantkeys import ClusterKeys

pytestmark = pytest.mark.apiserver

ROOT = Path(__file__).resolve().parents[3]
RELEASE, TEAM = "kernel-release", "kernel-team"
RIGHTS = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


def rendered():
    """What the chart's kernel and user roles are, of the kinds that make up rights."""
    return [
        each
        for each in charts_render.documents(namespace=RELEASE)
        if each["kind"] in RIGHTS
        and each["metadata"]["labels"]["app.kubernetes.io/name"] in ("aion-kernel", "aion-roles")
    ]


def apply(apiserver, *documents):
    apiserver.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))


def core(kind, name, namespace=None, version="v1", **more):
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


@pytest.fixture(scope="module")
def installed(apiserver, tmp_path_factory):
    """CRDs, rights, a policy and a team; gives the folder with the kernel's own token."""
    for crd in sorted((ROOT / "crds").glob("aion.os_*.yaml")):
        apiserver.kubectl("apply", "--server-side", "-f", str(crd))
    apiserver.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    bundle = testing.bundle()
    pointer = testing.pointer(bundle, revision=4, namespace=RELEASE)
    status = pointer.pop("status")
    keys = {"default": base64.b64encode(SECRET).decode()}
    apply(apiserver, core("Namespace", RELEASE), core("Namespace", TEAM))
    apply(
        apiserver,
        *rendered(),
        testing.bundle_map(bundle, namespace=RELEASE),
        pointer,
        testing.agent(TEAM, "a", capabilities={"network": True}),
        testing.tool(TEAM, "dates"),
        core("Secret", labels.TENANT_KEYS, TEAM, data=keys),
        core("Secret", "something-else", TEAM, data=keys),
        core("ServiceAccount", labels.service_account("a"), TEAM),
        core("ServiceAccount", "watcher", TEAM),
        core(
            "Pod", "a-1", TEAM, spec={"serviceAccountName": "agent-a", "containers": [{"name": "c", "image": "none"}]}
        ),
        core(
            "ClusterRoleBinding",
            "kernel-test-watcher",
            version="rbac.authorization.k8s.io/v1",
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "aion-observer"},
            subjects=[{"kind": "ServiceAccount", "name": "watcher", "namespace": TEAM}],
        ),
    )
    patch = json.dumps({"status": status})
    apiserver.kubectl(
        "patch", "policies.aion.os", "aion", "-n", RELEASE, "--subresource=status", "--type=merge", "-p", patch
    )
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "token").write_text(token(apiserver, "aion-kernel", RELEASE))
    return folder


def token(apiserver, account, namespace, *options):
    return apiserver.kubectl("create", "token", account, "-n", namespace, *options).stdout.strip()


async def test_with_the_charts_rights_everything_that_the_kernel_asks_is_answered(apiserver, installed):
    cluster = ApiServer(apiserver.url, token_file=installed / "token", ca_file=apiserver.ca)
    kernel = app.assemble(
        store=MemoryStore(time.monotonic), keys=ClusterKeys(cluster), cluster=cluster, namespace=RELEASE
    )
    async with testing.started(kernel) as url, aiohttp.ClientSession() as session:
        await asyncio.wait_for(kernel.grants.wait_ready(), 20)
        assert kernel.grants.policy.revision == 4
        outsider = Outsider(url, session)
        me = {"tenant": TEAM, "agent_id": f"agent://{TEAM}/a"}

        status, answer = await outsider.ask("POST", "/v1/syscall/net.fetch", {"params": {"url": "x"}}, **me)
        assert (status, answer["error"]["code"]) == (422, "E_PARAMS")

        bound = ("--audience", "aion-kernel", "--bound-object-kind", "Pod", "--bound-object-name", "a-1")
        gateway = token(apiserver, labels.service_account("a"), TEAM, *bound)
        uid = apiserver.kubectl("get", "pod", "a-1", "-n", TEAM, "-o", "jsonpath={.metadata.uid}").stdout
        headers = {"Authorization": f"Bearer {gateway}"}
        async with session.ws_connect(url + channel.PATH, headers=headers) as socket:
            await socket.send_str(channel.encode(channel.Hello("a-1", me["agent_id"], "1.0", f"{uid}@1")).decode())
            granted = channel.decode_down((await socket.receive(timeout=5)).data).grant
            assert [tool.name for tool in granted.tools] == ["dates"]
            apply(apiserver, testing.agent(TEAM, "a"))
            again = channel.decode_down((await socket.receive(timeout=5)).data).grant
            assert (granted.capabilities, again.capabilities) == (("network",), ())

        other = {"Authorization": f"Bearer {token(apiserver, labels.service_account('a'), TEAM)}"}
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            await session.ws_connect(url + channel.PATH, headers=other)

        for account, expected in (("watcher", 200), ("default", 403)):
            apply(apiserver, core("ServiceAccount", account, TEAM))
            for path in ("/v1/agents", "/v1/policy/current", f"/v1/audit/{answer['audit_id']}"):
                headers = {"Authorization": f"Bearer {token(apiserver, account, TEAM)}"}
                assert (await outsider.ask("GET", path, headers=headers))[0] == expected

        second = testing.bundle(limits={"max_concurrency": 2})
        apply(apiserver, testing.bundle_map(second, namespace=RELEASE))
        moved = testing.pointer(second, revision=5, namespace=RELEASE)["status"]
        patch = json.dumps({"status": moved})
        apiserver.kubectl(
            "patch", "policies.aion.os", "aion", "-n", RELEASE, "--subresource=status", "--type=merge", "-p", patch
        )
        await until(lambda: kernel.grants.policy.revision == 5)
    await cluster.close()


async def test_the_kernel_may_do_nothing_else(apiserver, installed):
    account = f"system:serviceaccount:{RELEASE}:aion-kernel"
    forbidden = [
        ("get", "secrets/something-else", TEAM),
        ("list", "secrets", TEAM),
        ("get", "configmaps", TEAM),
        ("create", "pods", TEAM),
        ("patch", "agents.aion.os", TEAM),
        ("patch", "policies.aion.os", RELEASE),
        ("update", "policies.aion.os/status", RELEASE),
        ("create", "configmaps", RELEASE),
    ]
    for verb, what, namespace in forbidden:
        done = apiserver.kubectl("auth", "can-i", verb, what, "-n", namespace, "--as", account, check=False)
        assert done.stdout.strip() == "no", (verb, what)
    done = apiserver.kubectl(
        "auth", "can-i", "get", f"secrets/{labels.TENANT_KEYS}", "-n", TEAM, "--as", account, check=False
    )
    assert done.stdout.strip() == "yes"
