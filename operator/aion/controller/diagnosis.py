"""What keeps a Pod from being ready, read from what the kubelet and the scheduler say about it. Pure.

It stands apart from the conditions because an Agent's Pod and a Tool's fail in the same ways, and because here the words of Kubernetes become
a person's: every finding says what happened and what to do. It must never guess in silence: where the cause cannot be seen in the Pod (a
missing ConfigMap shows only as an Event), the sentence says that it is likely, and how to look.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aion.api import conditions, fields
from aion.controller.views import GPU, ContainerView, NodeView, PodView

PULL_PATIENCE_S = 5.0
"""An image that the node holds needs no second; after this long it is being fetched."""

GUARD_PATIENCE_S = 10.0
"""Gateway and runner are ready within a second or two of their start."""

MOUNT_PATIENCE_S = 20.0
"""A volume mounts within one or two passes of the kubelet, a second each; after this long something is missing."""

_NO_IMAGE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
_ABSENT = re.compile(r"\b(configmap|secret)\b", re.IGNORECASE)
"""As the kubelet says it: `secret "x" not found`, `couldn't find key y in ConfigMap team/x`."""

_LAUNCHER = re.compile(r"^aion-launch: (.+)$", re.MULTILINE)
_LAUNCHER_CODES = frozenset({64, 126, 127})  # wrong usage, cannot run, not found
_TIMED_OUT = 124
_EX_DATAERR = 65  # how the tool runner leaves when the tool's file can never run


@dataclass(frozen=True, slots=True)
class Finding:
    """Why something is not ready. `stuck`: nothing but a change by a person helps."""

    reason: str
    message: str
    stuck: bool = False


@dataclass(frozen=True, slots=True)
class Needs:
    """What a Pod asks of a node: cores, bytes, GPUs, and the sha256 of its profile."""

    cpu: Decimal
    memory: Decimal
    profile: str
    gpus: int = 0


def needs(pod_spec: Any, *, profile: str) -> Needs:  # noqa: ANN401 - a rendered document
    """The sum over the containers of a rendered Pod."""
    asked = [container["resources"]["requests"] for container in pod_spec["containers"]]
    return Needs(
        cpu=sum((fields.amount(each["cpu"]) for each in asked), Decimal(0)),
        memory=sum((fields.amount(each["memory"]) for each in asked), Decimal(0)),
        profile=profile,
        gpus=sum(int(each.get(GPU) or 0) for each in asked),
    )


def held_by(profile: str, nodes: Iterable[NodeView]) -> tuple[str, ...]:
    """The nodes on which the profile lies ready."""
    return tuple(node.name for node in nodes if profile[:16] in node.profiles)


def blocking(pod: PodView, *, names: Sequence[str]) -> Finding | None:
    """The first container that cannot run, in the given order; None where each runs or is on its way."""
    seen = (container for name in names if (container := pod.container(name)) is not None)
    found = [finding for finding in map(_container, seen) if finding is not None]
    return next((finding for finding in found if finding.stuck), found[0] if found else None)


def placement(pod: PodView, *, needs: Needs, nodes: Sequence[NodeView]) -> Finding | None:
    """Why the scheduler has found no node for the Pod; None where it has, or has not said anything yet."""
    said = pod.condition("PodScheduled")
    if said is None or said.status == "True":
        return None
    if not nodes:
        return Finding(
            conditions.WAITING_FOR_NODE, "The cluster has no node yet; the Pod starts on the first that comes."
        )
    if too_large := _exceeds(needs, nodes):
        return too_large
    if not held_by(needs.profile, nodes):
        return no_profile(needs.profile)
    return Finding(conditions.UNSCHEDULABLE, f"No node can take the Pod now: {said.message or said.reason}")


def no_profile(profile: str) -> Finding:
    """No node holds the profile."""
    return Finding(
        conditions.WAITING_FOR_PROFILE,
        f"No node holds the seccomp profile {profile[:16]} yet, and the Pod waits for one that does. "
        "DaemonSet aion-node installs it and labels the node: see its log.",
    )


def no_source(namespace: str, config_map: str) -> Finding:
    """The ConfigMap that holds the Agent's files is not there."""
    said = f"ConfigMap {config_map}, which spec.source names, does not exist in namespace {namespace}. Create it: the Pod is then made by itself."
    return Finding(conditions.SOURCE_NOT_FOUND, said, stuck=True)


def starting(pod: PodView, *, config_map: str, now: datetime) -> tuple[Finding, float | None]:
    """Where a Pod that nothing blocks is on its way; and in how many seconds to look again, event or not.

    The ordinary second or two between a node and readiness is one finding, so that it costs one status write and not four.
    """
    placed = pod.condition("PodScheduled")
    if placed is None or placed.status != "True":
        return Finding(conditions.CREATING, f"Pod {pod.name} is being created."), None
    ordinary = Finding(conditions.STARTING, f"Pod {pod.name} starts on node {pod.node}.")
    slow, patience = _slow(pod, config_map=config_map)
    waited = (now - when(placed.since)).total_seconds() if placed.since else patience
    # A clock that runs behind the server's makes the wait negative: it must not put off the next look by as much.
    return (slow, None) if waited >= patience else (ordinary, min(patience - waited, patience))


def _slow(pod: PodView, *, config_map: str) -> tuple[Finding, float]:
    """What to say of the Pod if it stays as it is for so many seconds."""
    sandbox = pod.condition("PodReadyToStartContainers")
    if sandbox is not None and sandbox.status == "False":
        return _unmounted(pod, config_map=config_map), MOUNT_PATIENCE_S
    if pulling := [container.name for container in pod.containers if container.state == "waiting"]:
        said = f"Node {pod.node} fetches or unpacks the image of container `{'`, `'.join(pulling)}`."
        return Finding(conditions.PULLING_IMAGE, said), PULL_PATIENCE_S
    look = f"See `kubectl -n {pod.namespace} logs {pod.name} -c"
    if (gateway := pod.container("gateway")) is not None and not gateway.ready:
        said = (
            f"The gateway runs but is not ready: it waits for the kernel, or for the agent's process. {look} gateway`."
        )
        return Finding(conditions.WAITING_FOR_GATEWAY, said), GUARD_PATIENCE_S
    if (runner := pod.container("runner")) is not None and not runner.ready:
        said = f"The runner is up but not ready: it waits for the tool's container. {look} runner`."
        return Finding(conditions.STARTING, said), GUARD_PATIENCE_S
    return Finding(conditions.STARTING, f"Pod {pod.name} starts on node {pod.node}."), GUARD_PATIENCE_S


def _unmounted(pod: PodView, *, config_map: str) -> Finding:
    describe = f"`kubectl -n {pod.namespace} describe pod {pod.name}`"
    if not config_map:
        said = f"Pod {pod.name} waits on node {pod.node} for its volumes or its network: {describe} shows the cause."
        return Finding(conditions.STARTING, said)
    return Finding(
        conditions.SOURCE_NOT_FOUND,
        f"Pod {pod.name} waits on node {pod.node} for its files; most likely ConfigMap {config_map}, which spec.source names, "
        f"does not exist in namespace {pod.namespace}. Create it: the Pod then starts by itself. {describe} shows the cause.",
        stuck=True,
    )


def when(timestamp: str) -> datetime:
    """A Kubernetes timestamp as a time; raises ValueError."""
    return datetime.fromisoformat(timestamp).astimezone(UTC)


def stamp(moment: datetime) -> str:
    """A time as Kubernetes writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _container(view: ContainerView) -> Finding | None:
    if view.state == "waiting":
        return _waiting(view)
    if view.state == "terminated":
        return _ended(view.name, reason=view.reason, code=view.exit_code, said=view.message, again=False)
    return None


def _waiting(view: ContainerView) -> Finding | None:
    if view.reason in _NO_IMAGE:
        # ErrImagePull and ImagePullBackOff take turns; what both end in is the cause, and it stays the same.
        cause = view.message.split("ErrImagePull: ")[-1] or view.reason
        said = f"The image of container `{view.name}` is not to be had: {_clause(cause)}. Correct its name, or push it."
        return Finding(conditions.IMAGE_UNAVAILABLE, said, stuck=True)
    if view.reason == "CrashLoopBackOff":
        return _ended(view.name, reason=view.last_reason, code=view.last_exit_code, said=view.last_message, again=True)
    if "seccomp" in view.message and "profile" in view.message:
        said = f"The node has lost the seccomp profile of container `{view.name}`: {_clause(view.message)}. DaemonSet aion-node brings it back."
        return Finding(conditions.PROFILE_NOT_ON_NODE, said)
    if view.reason == "CreateContainerConfigError" and (absent := _ABSENT.search(view.message)):
        reason = conditions.SECRET_NOT_FOUND if absent[1].lower() == "secret" else conditions.SOURCE_NOT_FOUND
        said = f"Container `{view.name}` waits: {_clause(view.message)}. Create it: the Pod then starts by itself."
        return Finding(reason, said, stuck=True)
    if view.reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"):
        said = f"Container `{view.name}` cannot be started: {view.message or view.reason}"
        return Finding(conditions.POD_FAILED, said, stuck=True)
    return None


def _ended(name: str, *, reason: str, code: int | None, said: str, again: bool) -> Finding:
    launcher = _LAUNCHER.findall(said)
    words = launcher[-1] if launcher else _tail(said)
    if reason == "OOMKilled":
        return Finding(
            conditions.OUT_OF_MEMORY,
            f"Container `{name}` was killed because it used more memory than its limit. Raise spec.resources.mem.",
            stuck=again,
        )
    if name == "runner" and code == _EX_DATAERR:
        return Finding(conditions.BAD_TOOL_FILE, " ".join(said.split()) or "The tool's file cannot be run.", stuck=True)
    if code == _TIMED_OUT and launcher:
        return Finding(conditions.WAITING_FOR_GATEWAY, f"Container `{name}` gave up waiting: {words}")
    if code in _LAUNCHER_CODES and (launcher or not words):
        if "gateway" in words:
            return Finding(conditions.WAITING_FOR_GATEWAY, f"Container `{name}` was not admitted: {words}")
        said = words or f"exit code {code}"
        return Finding(
            conditions.ENTRY_NOT_FOUND,
            f"Container `{name}` cannot start its entry: {_clause(said)}. Correct spec.entry, or the image.",
            stuck=True,
        )
    if code == 0:
        text = f"Container `{name}` ended by itself (exit code 0), but is expected to run until it is stopped."
    else:
        text = f"Container `{name}` stopped with exit code {code}. Its last words: {words or 'none'}"
    return Finding(conditions.CRASH_LOOP, text, stuck=again)


def _clause(text: str) -> str:
    return text.strip().rstrip(".")


def _tail(text: str) -> str:
    """The last lines of what a container said, on one line of at most 300 characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-3:])[-300:]


def _exceeds(wanted: Needs, nodes: Sequence[NodeView]) -> Finding | None:
    if wanted.gpus > (most := max(node.gpus for node in nodes)):
        said = f"The Pod asks for {wanted.gpus} GPU, and the most that a node offers is {most} ({GPU}). Lower spec.resources.gpu, or add such a node."
        return Finding(conditions.RESOURCES_EXCEED_NODES, said, stuck=True)
    rooms = [room for node in nodes if (room := _room(node)) is not None]
    if len(rooms) < len(nodes) or any(wanted.cpu <= cpu and wanted.memory <= memory for _, cpu, memory in rooms):
        return None
    name, cpu, memory = max(rooms, key=lambda room: (room[1] >= wanted.cpu, room[2] >= wanted.memory, room[1], room[2]))
    return Finding(
        conditions.RESOURCES_EXCEED_NODES,
        f"The Pod asks for {_cores(wanted.cpu)} CPU and {_mib(wanted.memory)} Mi, its sidecar included; no node has that much: "
        f"the closest, {name}, has {_cores(cpu)} CPU and {_mib(memory)} Mi. Lower spec.resources, or add a larger node.",
        stuck=True,
    )


def _room(node: NodeView) -> tuple[str, Decimal, Decimal] | None:
    try:
        return node.name, fields.amount(node.cpu), fields.amount(node.memory)
    except ValueError:
        return None  # a unit we do not know: better say nothing about this node than something wrong


def _cores(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


def _mib(amount: Decimal) -> int:
    return int(amount / (1 << 20))
