"""Every trace the cluster can leave, and how each is taken back: for `down`, and for `up` after a power cut.

What is killed is ours by record, by our containerd's socket in its arguments, or by lying in our own cgroup;
what is unmounted lies under our state folder; what is removed from the network hangs on our bridge.
It must never decide by a program's name alone.
"""

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from clusters import run
from clusters.failure import Failed
from clusters.native import machine, processes
from clusters.native.layout import BRIDGE, NETWORK, Layout

# The kubelet first, or it restarts what is being stopped; etcd last, or the rest fills its log with complaints.
ORDER = ("kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager", "containerd", "kube-apiserver", "etcd")
PATIENCE = 10.0  # s for killed processes to be gone
CNI_RESULTS = Path("/var/lib/cni/results")
CONTAINER_LOGS = Path("/var/log/containers")


def components(layout: Layout) -> None:
    """Stop every recorded process and forget the records."""
    records = processes.recorded(layout)
    for name in sorted(records, key=lambda name: ORDER.index(name) if name in ORDER else -1):
        processes.stop(records[name])
        (layout.records / f"{name}.json").unlink()


def node(layout: Layout) -> bool:
    """Take the node back to where a reboot would leave it: no container, no mount, no Pod's network. Say whether there was any."""
    found = _containers(layout)
    sockets = _shim_sockets(layout)
    found = _unmount(layout) or found
    for path in (layout.containerd / "state", layout.containerd / "runc", layout.state / "ipam"):
        shutil.rmtree(path, ignore_errors=True)
    for socket in sockets:
        socket.unlink(missing_ok=True)
    _remove_empty(Path("/run/containerd/s"), Path("/run/containerd"))
    for veth in Path(f"/sys/class/net/{BRIDGE}/brif").glob("*"):
        run.succeeds(["ip", "link", "delete", veth.name])
        found = True
    for result in CNI_RESULTS.glob(f"{NETWORK}-*"):
        result.unlink()
    _remove_empty(CNI_RESULTS, CNI_RESULTS.parent)
    return found


def network(layout: Layout) -> None:
    """Remove the chains and the bridge, in that order: the bridge says whose the chains were."""
    if machine.bridge_owner() != layout.owner:
        return
    for family in ("iptables", "ip6tables"):
        for table in ("raw", "mangle", "nat", "filter"):
            if script := chains_removed(_saved(family, table)):
                run.output([f"{family}-restore", "--noflush", "--table", table], stdin=script.encode())
    run.output(["ip", "link", "delete", BRIDGE])


def chains_removed(saved: str) -> str:
    """Return the restore script that takes one table's KUBE-* chains, our own, and our network's CNI-* ones, out of it. Pure."""
    table = next((line for line in saved.splitlines() if line.startswith("*")), "")
    chains = re.findall(r"^:(\S+)", saved, re.MULTILINE)
    rules = [line for line in saved.splitlines() if line.startswith("-A ")]
    ours = {chain for chain in chains if chain.startswith(("KUBE-", "AION-"))}
    ours |= {rule.split()[-1] for rule in rules if f'name: \\"{NETWORK}\\"' in rule and " -j CNI-DN-" in rule}
    if not any(chain.startswith("CNI-DN-") and chain not in ours for chain in chains):
        ours |= {chain for chain in chains if chain.startswith("CNI-HOSTPORT-")}
    jumps = [rule for rule in rules if rule.split()[1] not in ours and _target(rule) in ours]
    if not ours:
        return ""
    flush = [f":{chain} - [0:0]" for chain in sorted(ours)]  # in a restore script this empties the chain
    remove = [f"-X {chain}" for chain in sorted(ours)]
    return "\n".join([table, *flush, *(rule.replace("-A ", "-D ", 1) for rule in jumps), *remove, "COMMIT", ""])


def cgroups(layout: Layout) -> None:
    """Remove our cgroup from every hierarchy, leaves first."""
    for root in machine.cgroup_folders(layout):
        for folder, _, _ in os.walk(root, topdown=False):
            Path(folder).rmdir()


def folder(layout: Layout) -> None:
    """Remove the state folder; refuse one that is not marked as ours, or that something is still mounted in."""
    for link in CONTAINER_LOGS.glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{layout.state}/"):
            link.unlink()
    _remove_empty(CONTAINER_LOGS)
    if not layout.state.exists():
        return
    if not layout.marker.exists():
        raise Failed(
            f"{layout.state} does not look like a cluster's folder: {layout.marker.name} is missing",
            remedy="check AION_STATE",
        )
    if left := _mounts(layout):
        raise Failed(
            f"still mounted: {left[0]}", remedy="find who holds it: fuser -vm PATH; then `e2e/cluster down` again"
        )
    shutil.rmtree(layout.state)
    _remove_empty(layout.state.parent)


def _containers(layout: Layout) -> bool:
    """Kill the containers by their cgroup, then their shims; wait until both are gone."""
    found, deadline = False, time.monotonic() + PATIENCE
    while pids := [*_members(layout), *_shims(layout)]:
        found = True
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            raise Failed(
                f"containers survive SIGKILL: {pids[:5]}",
                log=layout.logs / "containerd.log",
                remedy="they hang in the kernel: see dmesg, then reboot",
            )
        time.sleep(0.05)
    return found


def _members(layout: Layout) -> Iterator[int]:
    for root in machine.cgroup_folders(layout):
        for procs in root.rglob("cgroup.procs"):
            try:
                pids = procs.read_text().split()
            except OSError:  # removed under our eyes
                continue
            yield from (int(pid) for pid in pids if pid != "0" and processes.start_time(int(pid)) is not None)


def _shims(layout: Layout) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if (
            Path(words[0]).name.startswith("containerd-shim")
            and str(layout.containerd_socket) in words
            and processes.start_time(int(path.parts[2]))
        ):
            yield int(path.parts[2])


def _shim_sockets(layout: Layout) -> list[Path]:
    """Shims listen under /run/containerd whatever containerd's state folder is; their addresses are noted in it."""
    notes = (layout.containerd / "state").glob("io.containerd.runtime.v2.task/*/*/address")
    return [Path(note.read_text().strip().removeprefix("unix://")) for note in notes]


def _unmount(layout: Layout) -> bool:
    mounts = _mounts(layout)
    for start in range(0, len(mounts), 100):
        run.output(["umount", "--lazy", *mounts[start : start + 100]])
    return bool(mounts)


def _mounts(layout: Layout) -> list[str]:
    """Return what is mounted under the state folder, last mounted first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    plain = [re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point) for point in points]
    return [point for point in reversed(plain) if point.startswith(f"{layout.state.resolve()}/")]


def _saved(family: str, table: str) -> str:
    try:
        return run.output([f"{family}-save", "--table", table])
    except Failed:  # no such family or table in this kernel: then nothing of ours is in it
        return ""


def _target(rule: str) -> str:
    words = rule.split()
    return words[words.index("-j") + 1] if "-j" in words else ""


def _remove_empty(*folders: Path) -> None:
    for path in folders:
        try:
            path.rmdir()
        except OSError:  # not there, or others' things are in it
            return
