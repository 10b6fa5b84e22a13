"""Kind SandboxProfile: what confines an agent's process, by name. Cluster-scoped.

Pure data. A profile names one of the shipped seccomp profiles; Agents name the SandboxProfile. It must never be able to
loosen a shipped profile: only the files under `sandbox-profiles/`, which security reviewers read, say what is allowed.
"""

from typing import Annotated, Literal

from pydantic import Field

from aion.api import fields, meta
from aion.api.shape import Rule, Shape


class Seccomp(Shape):
    """The syscall filter."""

    shipped: fields.DnsLabel
    """The name of a file under sandbox-profiles/seccomp/, without its ending."""


class SandboxProfileSpec(Shape):
    """What a person asks for."""

    description: fields.Text = ""
    """What the profile is for, in a sentence."""
    seccomp: Seccomp
    """The syscall filter."""


class SandboxProfileStatus(Shape):
    """What the controller saw."""

    observed_generation: fields.Count = 0
    """The generation of the spec that all of this is about."""
    conditions: meta.Conditions = ()
    """How the SandboxProfile fares, each truth by itself."""
    digest: Annotated[str, Field(max_length=64)] = ""
    """The sha256 of the profile's bytes, in hex."""
    nodes_ready: fields.Count = 0
    """How many nodes hold it."""


class SandboxProfile(meta.Kind):
    """A named confinement for agents' processes."""

    names = meta.Names("SandboxProfile", "sandboxprofiles", "sandboxprofile", ("sbx",), "Cluster")
    columns = (
        *meta.ready_columns(),
        meta.Column("Seccomp", "string", ".spec.seccomp.shipped"),
        meta.Column("Nodes", "integer", ".status.nodesReady"),
        meta.AGE,
    )

    rules = (
        Rule(
            cel="self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')",
            message="a SandboxProfile's name has at most 63 characters and no dots: Agents name it",
            holds=lambda profile: len(profile.name) <= 63 and "." not in profile.name,
        ),
    )

    kind: Literal["SandboxProfile"] = "SandboxProfile"
    spec: SandboxProfileSpec
    status: SandboxProfileStatus = SandboxProfileStatus()
