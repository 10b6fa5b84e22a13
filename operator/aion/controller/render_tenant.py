"""A Tenant's children as documents: what its namespace may use, what may be reached from it, and its Pod Security labels. Pure.

Apart from the plan, which says whether the namespace is there to be bound. The network is denied whole, both ways, and opened for three things that
an Agent's gateway needs: the kernel, names, and the Tools of the namespace (whose own policies let Agents in). NetworkPolicies spell out
every list that must stay empty: what is left out is not ours, and others may fill it. It must never take labels of the namespace that others set, nor hold a key.
"""

from aion.api import labels, toolcall
from aion.api.tenant import Egress, TenantSpec
from aion.controller import sealed
from aion.controller.sealed import Document
from aion.controller.settings import Settings
from aion.controller.views import GPU, Key

NAME = "aion-tenant"
AGENTS = "aion-agents"
KERNEL_PORT = 8010
GATEWAY_PORT = 8011
WEB = (80, 443)

NODE_LOCAL_DNS = "169.254.20.10/32"
"""Where NodeLocal DNSCache listens on each node, by its own default."""


_CLOSED: Document = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": []}


def children(name: str, spec: TenantSpec, *, uid: str, settings: Settings) -> tuple[Document, ...]:
    """Everything in the namespace; a ResourceQuota only where the Tenant sets a bound."""
    key = Key("Tenant", name, name)  # the namespace that it governs is where its children live

    def made(kind: str, api: str, called: str, body: Document) -> Document:
        worn = {labels.TENANT: name, labels.PART_OF: labels.MANAGER, labels.MANAGED_BY: labels.MANAGER}
        meta = sealed.metadata(key, name=called, labels=worn, uid=uid)
        return sealed.marked({"apiVersion": api, "kind": kind, "metadata": meta, "spec": body})

    policies = "networking.k8s.io/v1"
    found = [
        made("NetworkPolicy", policies, NAME, _CLOSED),
        made("NetworkPolicy", policies, AGENTS, _agents(spec, settings=settings)),
        made("LimitRange", "v1", NAME, _defaults(spec)),
    ]
    if hard := _hard(spec):
        found.append(made("ResourceQuota", "v1", NAME, {"hard": hard}))
    return tuple(found)


def namespace_labels(name: str, spec: TenantSpec) -> dict[str, str]:
    """The labels of the namespace that are ours: by them the API server enforces Pod Security, and our admission policies find tenants."""
    return {labels.TENANT: name, labels.POD_SECURITY: spec.pod_security}


def namespace(name: str, spec: TenantSpec) -> Document:
    """The namespace, as far as it is ours: server-side apply leaves the rest alone."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": namespace_labels(name, spec)}}


def _agents(spec: TenantSpec, *, settings: Settings) -> Document:
    release = {"namespaceSelector": {"matchLabels": {labels.NAMESPACE: settings.release_namespace}}}
    kernel = {**release, "podSelector": {"matchLabels": {labels.NAME: "aion-kernel"}}}
    names = {"namespaceSelector": {"matchLabels": {labels.NAMESPACE: "kube-system"}}}
    tools = {"podSelector": {"matchExpressions": [{"key": labels.TOOL, "operator": "Exists"}]}}
    return {
        "podSelector": {"matchExpressions": [{"key": labels.AGENT, "operator": "Exists"}]},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [release], "ports": _tcp(GATEWAY_PORT)}],
        "egress": [
            {"to": [kernel], "ports": _tcp(KERNEL_PORT)},
            {
                "to": [names, {"ipBlock": {"cidr": NODE_LOCAL_DNS}}],
                "ports": [{"port": 53, "protocol": "UDP"}, *_tcp(53)],
            },
            {"to": [tools], "ports": _tcp(toolcall.PORT)},
            *(_opened(each) for each in spec.network.egress),
        ],
    }


def _opened(peer: Egress) -> Document:
    if peer.cidr:
        to: Document = {"ipBlock": {"cidr": peer.cidr}}
    else:
        to = {"namespaceSelector": {"matchLabels": {labels.NAMESPACE: peer.namespace}}}
    return {"to": [to], "ports": _tcp(*(peer.ports or WEB))}


def _tcp(*ports: int) -> list[Document]:
    return [{"port": port, "protocol": "TCP"} for port in ports]


def _defaults(spec: TenantSpec) -> Document:
    """No default CPU limit: it would throttle gateways, which ask for a share of CPU and take what is free beyond it."""
    cpu, memory = str(spec.container_defaults.cpu), str(spec.container_defaults.mem)
    each = {"type": "Container", "default": {"memory": memory}, "defaultRequest": {"cpu": cpu, "memory": memory}}
    return {"limits": [each]}


def _hard(spec: TenantSpec) -> dict[str, str]:
    quota = spec.quota
    bounds = {
        "pods": quota.pods,
        "requests.cpu": quota.cpu,
        "requests.memory": quota.mem,
        "limits.memory": quota.mem,
        f"requests.{GPU}": quota.gpu,
    }
    return {name: str(bound) for name, bound in bounds.items() if bound is not None}
