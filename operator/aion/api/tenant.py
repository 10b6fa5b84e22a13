"""Kind Tenant: one namespace that agents live in. Cluster-scoped; its name is the namespace's.

Pure data. It says how callers of this tenant prove who they are. It must never hold a key: those live in the Secret
`aion-tenant-keys` of the namespace.
"""

from typing import Literal

from aion.api import fields, ids, meta
from aion.api.shape import Rule, Shape


class Auth(Shape):
    """How this tenant's callers outside the cluster sign."""

    legacy_body_hmac: bool = False
    """Also take `X-Sig-HMAC: HEX` over the body alone. It can be replayed: for old clients, and for a while."""


class TenantSpec(Shape):
    """What a person asks for."""

    display_name: fields.Word = ""
    """What people call the tenant."""
    auth: Auth = Auth()
    """How this tenant's callers outside the cluster sign."""


class TenantStatus(Shape):
    """What the controller saw."""

    observed_generation: fields.Count = 0
    """The generation of the spec that all of this is about."""
    conditions: meta.Conditions = ()
    """How the Tenant fares, each truth by itself."""


class Tenant(meta.Kind):
    """A tenant: the namespace of the same name, and how its callers prove themselves."""

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
