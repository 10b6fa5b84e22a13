"""A Tool's children as documents: a Deployment of sealed Pods, the Service in front of them, and who may come near. Pure.

The shape is the Agent's Pod turned around: here the *tool* makes the socket and the runner comes to it, so that the tool's code needs no
right but to answer. It must never mount the tenant's keys into the tool's container.
"""

from aion.api import labels
from aion.controller import sealed, views
from aion.controller.recipes import Document, ToolRecipe
from aion.controller.settings import Settings

PORT = 8020
STAYS_S = 10  # the runner's 2 s of lingering, and calls of up to 8
SOCKET = "/run/aion/tool.sock"

# wasm runs inside the runner, so it gets the Tool's memory on top of its own.
_RUNNER_ROOM = {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}}


def children(recipe: ToolRecipe, *, settings: Settings) -> tuple[Document, Document]:
    """Service and Deployment, both labelled with the hash of the two."""
    worn = labels.of_tool(recipe.key.name)
    selector = {labels.TOOL: recipe.key.name, labels.MANAGED_BY: labels.MANAGER}
    name = labels.tool_object(recipe.key.name)
    service: Document = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": sealed.metadata(recipe.key, name=name, labels=worn, uid=recipe.uid),
        "spec": {
            "selector": selector,
            "ports": [{"name": "http", "port": PORT, "targetPort": PORT, "protocol": "TCP"}],
        },
    }
    deployment: Document = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": sealed.metadata(recipe.key, name=name, labels=worn, uid=recipe.uid),
        "spec": {
            "replicas": recipe.replicas,
            "selector": {"matchLabels": selector},
            "revisionHistoryLimit": 1,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": dict(worn)}, "spec": _pod_spec(recipe, settings=settings)},
        },
    }
    digest = views.digest([service, deployment])
    for document in (service, deployment):
        document["metadata"]["labels"] = {**worn, labels.TEMPLATE_HASH: digest}
    deployment["spec"]["template"]["metadata"]["labels"][labels.TEMPLATE_HASH] = views.digest(
        deployment["spec"]["template"]
    )
    return service, deployment


def guards(recipe: ToolRecipe, *, settings: Settings) -> tuple[Document, ...]:
    """Who reaches the Tool's Pods, what they reach (nothing), and how many may be evicted at once.

    Every list that must stay empty is spelled out: what is left out is not ours, and others may fill it.
    """
    worn = labels.of_tool(recipe.key.name)
    selector = {"matchLabels": {labels.TOOL: recipe.key.name, labels.MANAGED_BY: labels.MANAGER}}
    meta = sealed.metadata(recipe.key, name=labels.tool_object(recipe.key.name), labels=worn, uid=recipe.uid)
    kernel = {
        "namespaceSelector": {"matchLabels": {labels.NAMESPACE: settings.release_namespace}},
        "podSelector": {"matchLabels": {labels.NAME: "aion-kernel"}},
    }
    agents = {"podSelector": {"matchExpressions": [{"key": labels.AGENT, "operator": "Exists"}]}}
    fence: Document = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": meta,
        "spec": {
            "podSelector": selector,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"port": PORT, "protocol": "TCP"}], "from": [agents, kernel]}],
            "egress": [],
        },
    }
    if recipe.replicas < 2:
        return (sealed.marked(fence),)
    budget: Document = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": meta,
        "spec": {"maxUnavailable": 1, "selector": selector},
    }
    return sealed.marked(fence), sealed.marked(budget)


def _pod_spec(recipe: ToolRecipe, *, settings: Settings) -> Document:
    return {
        **sealed.pod_base(),
        "affinity": sealed.affinity(None, profile=recipe.profile),
        "containers": [_runner(recipe, settings=settings), *_tools(recipe, settings=settings)],
        "volumes": [
            {"name": "aion", "emptyDir": {"sizeLimit": "10Mi"}},
            {"name": "run", "emptyDir": {"sizeLimit": "10Mi"}},
            {"name": "keys", "secret": {"secretName": labels.TENANT_KEYS}},
        ],
    }


def _runner(recipe: ToolRecipe, *, settings: Settings) -> Document:
    values = {
        "AION_TOOL": recipe.runner,
        "AION_TENANT": recipe.key.namespace,
        "AION_KEYS_DIR": "/var/run/aion/keys",
        "AION_TOOL_SOCKET": SOCKET,
        "AION_TOOL_UID": str(sealed.UID_CODE),
        "AION_OTLP_ENDPOINT": settings.otlp_endpoint,
    }
    install = [sealed.SOURCE_LAUNCH, "--install", "/aion", "--listen", f"http=0.0.0.0:{PORT}"]
    return {
        "name": "runner",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "image": settings.image_toolrunner,
        "imagePullPolicy": settings.image_pull_policy,
        "command": [*install, "--", "python3", "-m", "aion.toolrunner"],
        "env": sealed.env(values),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "lifecycle": sealed.guard_lifecycle(),
        **sealed.probes(PORT),
        "resources": _RUNNER_ROOM,
        "securityContext": sealed.container_security(uid=sealed.UID_GUARD, profile=None),
        "volumeMounts": [
            {"name": "aion", "mountPath": "/aion"},
            {"name": "run", "mountPath": "/run/aion", "readOnly": True},
            {"name": "keys", "mountPath": "/var/run/aion/keys", "readOnly": True},
        ],
    }


def _tools(recipe: ToolRecipe, *, settings: Settings) -> list[Document]:
    """The tool's own container; none where its code runs elsewhere and its callers reach it."""
    return [] if recipe.entry.kind == "mcp-remote" else [_tool(recipe, settings=settings)]


def _tool(recipe: ToolRecipe, *, settings: Settings) -> Document:
    room = {"cpu": recipe.cpu, "memory": recipe.memory}
    return {
        "name": "tool",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "image": recipe.image or settings.image_tools,
        "imagePullPolicy": settings.image_pull_policy,
        "command": [sealed.LAUNCH, "--serve", SOCKET, *_served(recipe)],
        **_stays(recipe),
        "resources": {"requests": room, "limits": room},
        "securityContext": sealed.container_security(uid=sealed.UID_CODE, profile=recipe.profile),
        "volumeMounts": [
            {"name": "aion", "mountPath": "/aion", "readOnly": True},
            {"name": "run", "mountPath": "/run/aion"},
        ],
    }


def _stays(recipe: ToolRecipe) -> Document:
    """The runner ends its calls after SIGTERM, and a program is started here for each of them. A wasm file was handed over long ago."""
    if recipe.entry.kind == "wasm":
        return {}
    return {"lifecycle": {"preStop": {"sleep": {"seconds": STAYS_S}}}}


def _served(recipe: ToolRecipe) -> list[str]:
    """A wasm file is handed over once; a binary or a Python function is started for each call, an MCP server for many."""
    entry = recipe.entry
    if entry.kind == "wasm":
        return ["--file", entry.path]
    if entry.kind == "native":
        return ["--", entry.path]
    if entry.kind == "mcp-stdio":
        return ["--", *entry.argv]
    return ["--", "python3", "/aion/pytool.py", entry.module, entry.function]
