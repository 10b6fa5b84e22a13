"""An operator as kopf's own documentation teaches one: handlers for create, update and resume, and one for the Pods' events.

It stands here so that our operator can be compared with the one that a person would write first. It makes the children
from the template that our renderer wrote, and conditions of the same types. It must stay what the tutorial shows: kopf's
defaults, no queue, no cache, no healing.
"""

import asyncio
import datetime as dt
import hashlib
import json
import os
from pathlib import Path

import kopf
from kubernetes.aio import client, config

_TEMPLATE = Path(os.environ["BENCH_TEMPLATE"]).read_text()
_clients = []


@kopf.on.startup()
async def connect(**_):
    await config.load_kube_config()
    _clients.append(client.ApiClient())


@kopf.on.cleanup()
async def disconnect(**_):
    await _clients.pop().close()


@kopf.on.resume("aion.os", "v1", "agents")
@kopf.on.create("aion.os", "v1", "agents")
@kopf.on.update("aion.os", "v1", "agents")
async def ensure(name, namespace, uid, meta, status, patch, **_):  # noqa: PLR0917 - as the tutorial has it
    text = _TEMPLATE.replace("xagentx", name).replace("xtenantx", namespace).replace("xuidx", uid)
    wanted = json.loads(text.replace("xhashx", hashlib.sha256(text.encode()).hexdigest()[:10]))
    core = client.CoreV1Api(_clients[0])
    await _created(core.create_namespaced_service_account(namespace, wanted["account"]))
    await _created(core.create_namespaced_pod(namespace, wanted["pod"]))
    pod = wanted["pod"]["metadata"]["name"]
    if not status.get("conditions"):
        patch.status["observedGeneration"] = meta["generation"]
        patch.status["podName"] = pod
        patch.status["conditions"] = _conditions(meta["generation"], pod=pod, node="", ready=False)


@kopf.on.event("v1", "pods", labels={"app.kubernetes.io/managed-by": "aion-os"})
async def mirror(body, name, namespace, labels, **_):
    told = body.get("status", {}).get("conditions", ())
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in told)
    agent = labels.get("aion.os/agent")
    if not ready or not agent:
        return
    api = client.CustomObjectsApi(_clients[0])
    node = body["spec"].get("nodeName", "")
    said = {"nodeName": node, "conditions": _conditions(1, pod=name, node=node, ready=True)}
    try:
        await api.patch_namespaced_custom_object_status(
            "aion.os", "v1", namespace, "agents", agent, {"status": said}, _content_type="application/merge-patch+json"
        )
    except client.ApiException as error:
        if error.status != 404:
            raise


async def _created(call):
    try:
        await call
    except client.ApiException as error:
        if error.status == 409:
            return
        raise kopf.TemporaryError(str(error), delay=5) from error


def _conditions(generation, *, pod, node, ready):
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    creating = f"Pod {pod} is being created."
    told = [
        ("Accepted", True, "Valid", "The spec is valid."),
        ("PolicyBound", True, "Bound", "The policy is in force."),
    ]
    told += [("ProfileReady", True, "ProfileInstalled", "A node holds the profile.")]
    told += [("PodScheduled", True, "Scheduled", f"On node {node}.")] if node else []
    if ready:
        told += [("GatewayReady", True, "Serving", "The gateway serves.")]
        told += [("Ready", True, "Running", f"Pod {pod} runs on node {node}.")]
    else:
        told += [("GatewayReady", False, "Creating", creating), ("Ready", False, "Creating", creating)]
        told += [("Reconciling", True, "Creating", creating)]
    return [
        {
            "type": kind,
            "status": str(is_),
            "reason": reason,
            "message": message,
            "observedGeneration": generation,
            "lastTransitionTime": now,
        }
        for kind, is_, reason, message in told
    ]


if __name__ == "__main__":
    asyncio.run(kopf.operator(clusterwide=True))
