"""An Agent's children as documents: its ServiceAccount, its tenant's key Secret and its Pod. Pure.

Apart from the plan, which says *whether* something should exist; here is only *how it looks*. The Pod has no init container and the gateway
comes first, held by its postStart hook, because each further stage costs a second of kubelet time.
It must never put a secret, a token or a policy into the agent's container: those are mounted into the gateway alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aion.controller import sealed
from aion.controller.sealed import Document
from aion.controller.settings import Settings
from aion.controller.views import LABEL_HASH, LABEL_MANAGED, MANAGED_BY, Key

LABEL_AGENT = "aion.os/agent"
SECRET_KEYS = "aion-tenant-keys"  # noqa: S105 - a name
TOKEN_S = 3600
JOURNAL = "256Mi"  # audit records of ~400 B: 600 000 syscalls while the kernel is away

_GATEWAY_ROOM = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "192Mi"}}


@dataclass(frozen=True)
class AgentRecipe:
    """What the spec says about the Pod, parsed and checked: every text here was accepted already."""

    key: Key
    uid: str
    version: str
    argv: tuple[str, ...]
    priority: int
    cpu: str
    memory: str
    gpus: int = 0
    image: str = ""
    config_map: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Document, ...] = ()
    affinity: Document | None = None
    pull_secrets: tuple[Document, ...] = ()
    env: tuple[Document, ...] = ()


def account_name(agent: str) -> str:
    """The ServiceAccount by which the kernel recognises an agent's gateway."""
    return f"agent-{agent}"


def queue_of(priority: int) -> str:
    """7-9 high, 4-6 normal, 0-3 low."""
    return "high" if priority >= 7 else "normal" if priority >= 4 else "low"


def service_account(recipe: AgentRecipe) -> Document:
    """The identity; it holds no right in the API and its token is never mounted by itself."""
    labels = {LABEL_AGENT: recipe.key.name}
    name = account_name(recipe.key.name)
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": sealed.metadata(recipe.key, name=name, labels=labels, uid=recipe.uid),
        "automountServiceAccountToken": False,
    }


def tenant_keys(namespace: str, *, secret: str) -> Document:
    """The tenant's HMAC keys, made once; no owner, because every Agent and Tool of the namespace needs it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET_KEYS, "namespace": namespace, "labels": {LABEL_MANAGED: MANAGED_BY}},
        "type": "Opaque",
        "stringData": {"k1": secret},
    }


def pod(recipe: AgentRecipe, *, settings: Settings, profile: str) -> Document:
    """The Pod, named by the hash of everything in it; `profile` is the sha256 of its seccomp profile."""
    labels = {
        "app.kubernetes.io/name": "agent",
        "app.kubernetes.io/instance": recipe.key.name,
        **{k: v for k, v in recipe.labels.items() if "aion.os/" not in k and k != LABEL_MANAGED},
        LABEL_AGENT: recipe.key.name,
    }
    spec: Document = {
        **sealed.pod_base(),
        "serviceAccountName": account_name(recipe.key.name),
        "priorityClassName": f"aion-{queue_of(recipe.priority)}",
        "affinity": sealed.affinity(recipe.affinity, profile=profile),
        "containers": [_gateway(recipe, settings=settings), _agent(recipe, settings=settings, profile=profile)],
        "volumes": _volumes(recipe),
    }
    spec |= {"nodeSelector": dict(recipe.node_selector)} if recipe.node_selector else {}
    spec |= {"tolerations": list(recipe.tolerations)} if recipe.tolerations else {}
    spec |= {"imagePullSecrets": list(recipe.pull_secrets)} if recipe.pull_secrets else {}
    meta = sealed.metadata(recipe.key, name="", labels=labels, uid=recipe.uid)
    meta |= {"annotations": dict(recipe.annotations)} if recipe.annotations else {}
    digest = sealed.digest([meta, spec])
    meta["name"] = f"{recipe.key.name}-{digest}"
    meta["labels"][LABEL_HASH] = digest
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def _identity(recipe: AgentRecipe) -> dict[str, str]:
    return {"AION_AGENT_ID": f"agent://{recipe.key.namespace}/{recipe.key.name}", "AION_TENANT": recipe.key.namespace}


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
    }
    command = [sealed.SOURCE_LAUNCH, "--install", "/aion"]
    for listen in ("unix=/run/aion/gw.sock", "tcp=127.0.0.1:8010", "pod=0.0.0.0:8011"):
        command += ["--listen", listen]
    return {
        "name": "gateway",
        "image": settings.image_gateway,
        "imagePullPolicy": settings.image_pull_policy,
        "command": [*command, "--", "python3", "-m", "aion.gateway"],
        "env": [
            *sealed.env(values),
            _downward("AION_POD_NAME", "metadata.name"),
            _downward("AION_POD_IP", "status.podIP"),
            _downward("AION_NODE_NAME", "spec.nodeName"),
        ],
        "ports": [{"name": "pod", "containerPort": 8011, "protocol": "TCP"}],
        "lifecycle": sealed.guard_lifecycle(),
        **sealed.probes(8011),
        "resources": _GATEWAY_ROOM,
        "securityContext": sealed.container_security(uid=sealed.UID_GUARD, profile=None),
        "volumeMounts": [
            {"name": "aion", "mountPath": "/aion"},
            {"name": "run", "mountPath": "/run/aion"},
            {"name": "journal", "mountPath": "/var/lib/aion"},
            {"name": "keys", "mountPath": "/var/run/aion/keys", "readOnly": True},
            {"name": "token", "mountPath": "/var/run/aion/token", "readOnly": True},
        ],
    }


def _agent(recipe: AgentRecipe, *, settings: Settings, profile: str) -> Document:
    values = {
        "AION_GATEWAY_SOCKET": "/run/aion/gw.sock",
        "AION_KERNEL_URL": "unix:///run/aion/gw.sock",
        **_identity(recipe),
        "PYTHONPATH": "/app",
        "NVIDIA_VISIBLE_DEVICES": "" if recipe.gpus else "void",
    }
    room = {"cpu": recipe.cpu, "memory": recipe.memory}
    room |= {"nvidia.com/gpu": str(recipe.gpus)} if recipe.gpus else {}
    mounts = [
        {"name": "aion", "mountPath": "/aion", "readOnly": True},
        {"name": "run", "mountPath": "/run/aion", "readOnly": True},
    ]
    container: Document = {
        "name": "agent",
        "image": recipe.image or settings.image_agent,
        "imagePullPolicy": settings.image_pull_policy,
        "command": [sealed.LAUNCH, "--await", "/run/aion/gw.sock", "--", *recipe.argv],
        # Ours come last: of two variables of one name the kubelet takes the later.
        "env": [*(e for e in recipe.env if e["name"] not in values), *sealed.env(values)],
        "resources": {"requests": room, "limits": room},
        "securityContext": sealed.container_security(uid=sealed.UID_CODE, profile=profile),
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
        {"name": "keys", "secret": {"secretName": SECRET_KEYS}},
        {"name": "token", "projected": {"sources": [token]}},
    ]
    if recipe.config_map:
        volumes.append({"name": "app", "configMap": {"name": recipe.config_map}})
    return volumes
