"""An Agent's children as documents: its ServiceAccount, its tenant's key Secret and its Pod. Pure.

Apart from the plan, which says *whether* something should exist; here is only *how it looks*. The Pod has no init container and the gateway
comes first, held by its postStart hook, because each further stage costs a second of kubelet time.
It must never put a secret, a token or a policy into the agent's container: those are mounted into the gateway alone.
"""

from aion.api import ids, labels
from aion.controller import sealed, views
from aion.controller.recipes import AgentRecipe
from aion.controller.sealed import Document
from aion.controller.settings import Settings

TOKEN_S = 3600
POD_PORT = 8011
JOURNAL = "256Mi"  # audit records of ~400 B: 600 000 syscalls while the kernel is away

# How a Pod is stopped: the agent's preStop waits for calls under way, then the agent hears SIGTERM and has its time, then the gateway sends
# what is left of the audit. Each part ends as soon as it is done; the sum is what the kubelet gives before it kills.
PARK_AT_LEAST_S, PARK_AT_MOST_S = (
    5,
    30,
)  # no call outlives policy's syscall_timeout_ms, 30 s where it says nothing, and none a task's time
AGENT_S = 20
FLUSH_S = 5

_LISTENS = (
    "unix=/run/aion/gw.sock",
    "tcp=127.0.0.1:8010",
    "egress=/run/aion/egress.sock",
    "proxy=127.0.0.1:3128",
    f"pod=0.0.0.0:{POD_PORT}",
)
"""HTTP_PROXY is not set to the proxy: the agent's preloaded library asks egress.sock for whatever opens TCP, and takes 3128 of
loopback for that socket too, should an agent's own variables name it."""

_GATEWAY_ROOM = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "192Mi"}}


def service_account(recipe: AgentRecipe) -> Document:
    """The identity; it holds no right in the API and its token is never mounted by itself."""
    name = labels.service_account(recipe.key.name)
    worn = labels.of_agent(recipe.key.name)
    return sealed.marked(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": sealed.metadata(recipe.key, name=name, labels=worn, uid=recipe.uid),
            "automountServiceAccountToken": False,
        }
    )


def pod(recipe: AgentRecipe, *, settings: Settings) -> Document:
    """The Pod, named by the hash of everything in it."""
    ours = labels.of_agent(recipe.key.name)
    theirs = {name: value for name, value in recipe.labels.items() if not name.startswith(f"{labels.GROUP}/")}
    spec: Document = {
        **sealed.pod_base(),
        "terminationGracePeriodSeconds": parking_s(recipe) + AGENT_S + FLUSH_S,
        "serviceAccountName": labels.service_account(recipe.key.name),
        "priorityClassName": f"aion-{recipe.queue}",
        "affinity": sealed.affinity(recipe.affinity, profile=recipe.profile),
        "containers": [_gateway(recipe, settings=settings), _agent(recipe, settings=settings)],
        "volumes": _volumes(recipe),
    }
    spec |= {"nodeSelector": dict(recipe.node_selector)} if recipe.node_selector else {}
    spec |= {"tolerations": list(recipe.tolerations)} if recipe.tolerations else {}
    spec |= {"imagePullSecrets": list(recipe.pull_secrets)} if recipe.pull_secrets else {}
    meta = sealed.metadata(recipe.key, name="", labels={**theirs, **ours}, uid=recipe.uid)
    noted = {**recipe.annotations, **({labels.SOURCE_DIGEST: recipe.source_digest} if recipe.source_digest else {})}
    meta |= {"annotations": noted} if noted else {}
    digest = views.digest([meta, spec])
    meta["name"] = f"{recipe.key.name}-{digest}"
    meta["labels"][labels.TEMPLATE_HASH] = digest
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def parking_s(recipe: AgentRecipe) -> int:
    """How many seconds calls under way have to end, when the Pod is stopped."""
    return min(max(-(-recipe.timeout_ms // 1000), PARK_AT_LEAST_S), PARK_AT_MOST_S)


def _identity(recipe: AgentRecipe) -> dict[str, str]:
    return {"AION_AGENT_ID": ids.agent_id(recipe.key.namespace, recipe.key.name), "AION_TENANT": recipe.key.namespace}


def _downward(name: str, path: str) -> Document:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _gateway(recipe: AgentRecipe, *, settings: Settings) -> Document:
    values = {
        **_identity(recipe),
        "AION_AGENT_NAME": recipe.key.name,
        "AION_AGENT_UID": str(sealed.UID_CODE),
        "AION_KERNEL_URL": settings.kernel,
        "AION_TOKEN_FILE": "/var/run/aion/token/token",
        "AION_KEYS_DIR": "/var/run/aion/keys",
        "AION_JOURNAL": "/var/lib/aion/audit.journal",
        "AION_OTLP_ENDPOINT": settings.otlp_endpoint,
        "AION_PARK_S": str(parking_s(recipe)),
        "AION_GRACE_S": str(parking_s(recipe) + AGENT_S),
    }
    mounts: list[Document] = [
        {"name": "aion", "mountPath": "/aion"},
        {"name": "run", "mountPath": "/run/aion"},
        {"name": "journal", "mountPath": "/var/lib/aion"},
        {"name": "keys", "mountPath": "/var/run/aion/keys", "readOnly": True},
        {"name": "token", "mountPath": "/var/run/aion/token", "readOnly": True},
    ]
    if recipe.models:
        mounts.append({"name": "model-keys", "mountPath": "/var/run/aion/model-keys", "readOnly": True})
    command = [sealed.SOURCE_LAUNCH, "--install", "/aion"]
    for listen in _LISTENS:
        command += ["--listen", listen]
    return {
        "name": "gateway",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "image": settings.image_gateway,
        "imagePullPolicy": settings.image_pull_policy,
        "command": [*command, "--", "python3", "-m", "aion.gateway"],
        "env": [
            *sealed.env(values),
            _downward("AION_POD_NAME", "metadata.name"),
            _downward("AION_POD_UID", "metadata.uid"),
            _downward("AION_POD_IP", "status.podIP"),
            _downward("AION_NODE_NAME", "spec.nodeName"),
        ],
        "ports": [{"name": "pod", "containerPort": POD_PORT, "protocol": "TCP"}],
        "lifecycle": sealed.guard_lifecycle(),
        **sealed.probes(POD_PORT),
        "resources": _GATEWAY_ROOM,
        "securityContext": sealed.container_security(uid=sealed.UID_GUARD, profile=None),
        "volumeMounts": mounts,
    }


def _agent(recipe: AgentRecipe, *, settings: Settings) -> Document:
    values = {
        "AION_GATEWAY_SOCKET": "/run/aion/gw.sock",
        "AION_KERNEL_URL": "unix:///run/aion/gw.sock",
        **_identity(recipe),
        "PYTHONPATH": "/app:/opt/aion",  # the agent's own files, then those of the default image
        "NVIDIA_VISIBLE_DEVICES": "" if recipe.gpus else "void",
        # What lets requests, LangGraph, curl and Node speak TCP where there is none; it grants nothing, policy decides.
        **({"LD_PRELOAD": sealed.TUNNEL, "AION_EGRESS_SOCKET": sealed.EGRESS_SOCKET} if recipe.tunnel else {}),
    }
    room = {"cpu": recipe.cpu, "memory": recipe.memory}
    room |= {views.GPU: str(recipe.gpus)} if recipe.gpus else {}
    mounts = [
        {"name": "aion", "mountPath": "/aion", "readOnly": True},
        {"name": "run", "mountPath": "/run/aion", "readOnly": True},
    ]
    container: Document = {
        "name": "agent",
        "terminationMessagePolicy": "FallbackToLogsOnError",  # the launcher's sentence becomes the condition's message
        "image": recipe.image or settings.image_agent,
        "imagePullPolicy": settings.image_pull_policy,
        "command": [sealed.LAUNCH, "--await", "/run/aion/gw.sock", "--", *recipe.argv],
        # Ours come last: of two variables of one name the kubelet takes the later.
        "env": [*(e for e in recipe.env if e["name"] not in values), *sealed.env(values)],
        # Answered by the gateway, on the Pod's address; by number, since names are of a container's own ports.
        "lifecycle": {"preStop": {"httpGet": {"path": "/v1/park", "port": POD_PORT}}},
        "resources": {"requests": room, "limits": room},
        "securityContext": sealed.container_security(uid=sealed.UID_CODE, profile=recipe.profile),
        "volumeMounts": mounts,
    }
    if recipe.config_map:
        container["workingDir"] = "/app"
        mounts.append({"name": "app", "mountPath": "/app", "readOnly": True})
    return container


def _volumes(recipe: AgentRecipe) -> list[Document]:
    token = {"serviceAccountToken": {"audience": "aion-kernel", "expirationSeconds": TOKEN_S, "path": "token"}}
    volumes: list[Document] = [
        {"name": "aion", "emptyDir": {"sizeLimit": "10Mi"}},
        {"name": "run", "emptyDir": {}},
        {"name": "journal", "emptyDir": {"sizeLimit": JOURNAL}},
        {"name": "keys", "secret": {"secretName": labels.TENANT_KEYS}},
        {"name": "token", "projected": {"sources": [token]}},
    ]
    if recipe.models:  # optional: backends in the house may need no key
        volumes.append({"name": "model-keys", "secret": {"secretName": labels.MODEL_KEYS, "optional": True}})
    if recipe.config_map:
        volumes.append({"name": "app", "configMap": {"name": recipe.config_map}})
    return volumes
