"""Kind Tenant: one namespace that agents live in. Cluster-scoped; its name is the namespace's.

Pure data. It says what the namespace may use, what may be reached from it, what its Agents may be allowed at most, and how its callers prove who
they are. It must never hold a key: those live in the Secret `aion-tenant-keys` of the namespace.
"""

from typing import Annotated, Literal

from pydantic import Field

from aion.api import fields, grant, ids, meta
from aion.api import syscall as syscalls
from aion.api.agent import FAMILIES
from aion.api.shape import Matching, Rule, Shape

Allowed = Annotated[str, Field(max_length=64), *fields.one_of("*", *grant.CAPABILITIES, *FAMILIES, *syscalls.NAMES)]

_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
Cidr = Annotated[
    str,
    Field(max_length=64),
    Matching(
        rf"^({_OCTET}(\.{_OCTET}){{3}}/([0-9]|[12][0-9]|3[0-2])|[0-9a-f:]{{2,39}}/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))$",
        "a network such as 10.0.0.0/8",
    ),
]
Port = Annotated[int, Field(ge=1, le=65535)]


class Auth(Shape):
    """How this tenant's callers outside the cluster sign."""

    legacy_body_hmac: bool = False
    """Also take `X-Sig-HMAC: HEX` over the body alone. It can be replayed: for old clients, and for a while."""
    key_revision: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Raise it, and a new key is made: it signs after two minutes, and the key before it is good for ten more."""


class Quota(Shape):
    """What all Pods of the namespace may ask for together; nothing said, no bound."""

    pods: Annotated[int, Field(ge=0, le=100_000)] | None = None
    """How many Pods."""
    cpu: fields.Quantity | None = None
    """CPU, as a Kubernetes quantity: the sum of what they request."""
    mem: fields.Quantity | None = None
    """Memory, as a Kubernetes quantity: the sum of what they request, and of their limits."""
    gpu: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """GPUs, as nvidia.com/gpu."""


class ContainerDefaults(Shape):
    """What a container of the namespace gets where it asks for nothing. Agents and Tools always ask."""

    cpu: fields.Quantity = "100m"
    """Its CPU request."""
    mem: fields.Quantity = "256Mi"
    """Its memory, as request and as limit."""


class Egress(Shape):
    """Somewhere that the Agents' gateways may reach, beside the kernel, DNS and the namespace's Tools."""

    cidr: Cidr | None = None
    """A network, for hosts outside the cluster. Policy's own egress rules say which hosts `net.fetch` may speak to."""
    namespace: fields.DnsLabel | None = None
    """A namespace of the cluster: all its Pods."""
    ports: Annotated[tuple[Port, ...], Field(max_length=16), fields.UNIQUE, fields.AS_SET] = ()
    """TCP ports. Where nothing is said: 80 and 443."""

    rules = (
        Rule(
            cel="has(self.cidr) != has(self.namespace)",
            message="give cidr or namespace, one of the two",
            holds=lambda peer: (peer.cidr is None) != (peer.namespace is None),
        ),
    )


class Network(Shape):
    """What the namespace's Pods may reach. All that is not said is denied, both ways."""

    egress: Annotated[tuple[Egress, ...], Field(max_length=32), fields.AS_ATOM] = ()
    """Where the Agents' gateways may go beside the kernel, DNS and the namespace's Tools. The agents themselves reach nothing."""


class TenantSpec(Shape):
    """What a person asks for."""

    display_name: fields.Word = ""
    """What people call the tenant."""
    auth: Auth = Auth()
    """How this tenant's callers outside the cluster sign."""
    capabilities: Annotated[tuple[Allowed, ...], Field(max_length=64), fields.UNIQUE, fields.AS_SET] | None = None
    """The most that any Agent of the tenant may be allowed, whatever it asks and policy gives. Nothing said: no ceiling."""
    quota: Quota = Quota()
    """What all Pods of the namespace may ask for together."""
    container_defaults: ContainerDefaults = ContainerDefaults()
    """What a container gets where it asks for nothing."""
    network: Network = Network()
    """What the namespace's Pods may reach."""
    pod_security: Literal["restricted", "baseline", "privileged"] = "restricted"
    """The Pod Security level that the namespace enforces. Agents and Tools fit into `restricted`."""


class KeyStatus(Shape):
    """One key of Secret aion-tenant-keys that the controller made."""

    id: Annotated[str, Field(max_length=63)]
    """Its id, as callers send it in X-Aion-Key-Id."""
    since: fields.Timestamp = ""
    """When it was put into the Secret. Nothing: it is about to be."""
    until: fields.Timestamp = ""
    """When it is taken out of the Secret. Nothing: it is the newest."""


class TenantStatus(Shape):
    """What the controller saw."""

    observed_generation: fields.Count = 0
    """The generation of the spec that all of this is about."""
    conditions: meta.Conditions = ()
    """How the Tenant fares, each truth by itself."""
    key_revision: fields.Count = 0
    """The spec.auth.keyRevision that the newest key was made for."""
    keys: Annotated[tuple[KeyStatus, ...], Field(max_length=16), fields.as_map("id")] = ()
    """The keys that the controller made, never their secrets."""


class Tenant(meta.Kind):
    """A tenant: the namespace of the same name, and what binds whoever lives there."""

    names = meta.Names("Tenant", "tenants", "tenant", ("aten",), "Cluster")
    columns = (*meta.ready_columns(), meta.Column("Display-Name", "string", ".spec.displayName"), meta.AGE)
    rules = (
        Rule(
            cel="self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')",
            message="a Tenant's name is its namespace's: at most 63 characters, no dots",
            holds=lambda tenant: len(tenant.name) <= 63 and "." not in tenant.name,
        ),
    )

    kind: Literal["Tenant"] = "Tenant"
    spec: TenantSpec = TenantSpec()
    status: TenantStatus = TenantStatus()

    @property
    def tenant(self) -> ids.Tenant:
        """The tenant's name, which is the namespace's."""
        return ids.Tenant(self.name)
