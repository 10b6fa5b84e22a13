"""What a provider can do. The verbs of the command line, and nothing else."""

from typing import Protocol, TypedDict


class Component(TypedDict):
    """One process of the cluster."""

    pid: int
    alive: bool
    log: str


class Status(TypedDict):
    """The answer of `status -o json`. kubeletRoot is a path on the node; bin holds kubectl and helm, if ours."""

    provider: str
    running: bool
    kubeconfig: str
    kubeletRoot: str
    nodeIP: str
    bin: str | None
    components: dict[str, Component]


class Provider(Protocol):
    """A way to have a cluster on this machine. All verbs may be called in any state, and twice."""

    def up(self) -> None:
        """Return when Pods can be applied. Raises Failed."""

    def down(self) -> None:
        """Remove the cluster and every trace of it."""

    def status(self) -> Status:
        """Look, change nothing, answer within a second."""

    def load(self, image: str) -> str:
        """Make an image known to the node; returns one line that says what was done."""
