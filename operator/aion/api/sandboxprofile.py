"""Kind SandboxProfile: what confines an agent's process, by name. Cluster-scoped.

Pure data. A profile names one of the shipped seccomp profiles; Agents name the SandboxProfile. It must never be able to
loosen a shipped profile: only the files under `sandbox-profiles/`, which security reviewers read, say what is allowed.
"""

from typing import Annotated, Literal

from pydantic import Field

from aion.api import fields, meta
from aion.api.shape import Shape


class Seccomp(Shape):
    """The syscall filter."""

    shipped: fields.DnsLabel
    """The name of a file under sandbox-profiles/seccomp/, without its ending."""


class SandboxProfileSpec(Shape):
    """What a person asks for."""

    description: fields.Text = ""
    seccomp: Seccomp


class SandboxProfileStatus(Shape):
    """What the controller saw. `digest` is the sha256 of the profile's bytes, in hex."""

    observed_generation: fields.Count = 0
    conditions: meta.Conditions = ()
    digest: Annotated[str, Field(max_length=64)] = ""
    nodes_ready: fields.Count = 0


class SandboxProfile(meta.Kind):
    """A named confinement for agents' processes."""

    names = meta.Names("SandboxProfile", "sandboxprofiles", "sandboxprofile", ("sbx",), "Cluster")
    columns = (
        *meta.ready_columns(),
        meta.Column("Seccomp", "string", ".spec.seccomp.shipped"),
        meta.Column("Nodes", "integer", ".status.nodesReady"),
        meta.AGE,
    )

    kind: Literal["SandboxProfile"] = "SandboxProfile"
    spec: SandboxProfileSpec
    status: SandboxProfileStatus = SandboxProfileStatus()
