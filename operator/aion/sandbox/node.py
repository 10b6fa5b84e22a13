"""Keeps every shipped profile on this node, and the node's labels true about it.

One pass: for each profile, disk first; only a file that was read back and found whole earns its label, and a file that
cannot be made whole loses it. Pods wait for the label, so a Pod can never start before its profile.
It must never label in hope, and never stop because the API server is away: the disk heals without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from aion.sandbox import errors, install
from aion.sandbox.profiles import Profile

READY = "ready"


class Labels(Protocol):
    """The node's labels below `seccomp.aion.os/`."""

    def read(self) -> Mapping[str, str]:
        """As they are; raises ClusterUnreachable."""
        ...

    def write(self, changes: Mapping[str, str | None]) -> None:
        """Set, or take away where None; raises ClusterUnreachable."""
        ...


@dataclass(frozen=True)
class Sight:
    """What one pass found and did."""

    installed: tuple[str, ...] = ()  # names of the profiles that are whole on disk
    written: tuple[str, ...] = ()  # of these, those that had to be written
    relabelled: tuple[str, ...] = ()  # labels that were changed
    problems: tuple[str, ...] = ()  # sentences for a person

    @property
    def ready(self) -> bool:
        """Whether disk and labels are as they should be."""
        return not self.problems


@dataclass
class Node:
    """One node: its profiles, its disk, its labels."""

    profiles: Mapping[str, Profile]
    kubelet_root: Path
    labels: Labels
    sight: Sight = field(default_factory=lambda: Sight(problems=("the first pass has not run yet",)))

    def keep(self) -> Sight:
        """One pass. Never raises for what a disk or a server can do; the answer says it."""
        installed, written, problems = [], [], []
        for name, profile in self.profiles.items():
            try:
                if install.ensure(profile, kubelet_root=self.kubelet_root):
                    written.append(name)
                installed.append(name)
            except OSError as error:
                problems.append(f"profile {name} is not on this node: {error}")
        changes: Mapping[str, str | None] = {}
        try:
            found = self.labels.read()
            changes = wanted_changes(found, {name: self.profiles[name] for name in installed})
            if changes:
                self.labels.write(changes)
        except errors.ClusterUnreachable as error:
            changes = {}
            problems.append(f"the node's label is not up to date: {error}")
        self.sight = Sight(tuple(installed), tuple(written), tuple(changes), tuple(problems))
        return self.sight


def wanted_changes(found: Mapping[str, str], whole: Mapping[str, Profile]) -> Mapping[str, str | None]:
    """The merge patch from the labels found to those deserved: one per whole profile, none for any other."""
    deserved = {profile.node_label: READY for profile in whole.values()}
    add: dict[str, str | None] = {k: v for k, v in deserved.items() if found.get(k) != v}
    return add | {k: None for k in found if k not in deserved}
