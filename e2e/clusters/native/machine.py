"""What the cluster needs of the machine itself: a bridge, forwarding, cgroups, free ports. And whose they are.

Two clusters on one network would write the same iptables chains and the same bridge, so the second is
refused with the first one's name. The bridge carries its owner's name; it is made first and removed last.
"""

import json
import socket
from pathlib import Path

from clusters import run
from clusters.failure import Failed
from clusters.native import processes
from clusters.native.layout import BRIDGE, CLUSTER_CIDR, NODE_IP, PORTS, SERVICE_CIDR, Layout

CGROUPS = Path("/sys/fs/cgroup")
FENCE = "AION-FENCE"  # an iptables chain; `clean` knows ours by the prefix
FILTERED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
SYSCTLS = {  # what the kubelet, kube-proxy and CNI set for themselves, and we for them: put back by `down`
    "net/ipv4/ip_forward": "1",
    "net/bridge/bridge-nf-call-iptables": "1",
    "net/ipv4/conf/all/route_localnet": None,
    "vm/overcommit_memory": None,
    "vm/panic_on_oom": None,
    "kernel/panic": None,
    "kernel/panic_on_oops": None,
    "kernel/keys/root_maxkeys": None,
    "kernel/keys/root_maxbytes": None,
}


def claim(layout: Layout) -> None:
    """Refuse to touch a machine where another cluster lives. Raises Failed naming it."""
    owner = bridge_owner()
    if owner == "" and layout.bridge_begun.exists():
        owner = layout.owner  # ours: it was made, and the machine stopped before it was named
    if owner is not None and owner != layout.owner:
        if owner.startswith("aion-os:"):
            state = owner.removeprefix("aion-os:")
            raise Failed(
                f"the bridge {BRIDGE} belongs to the cluster in {state}", remedy=f"AION_STATE={state} e2e/cluster down"
            )
        raise Failed(
            f"a bridge {BRIDGE} is there that is not ours (its alias: {owner or 'none'})",
            remedy=f"see `ip -d link show {BRIDGE}`; remove it if nobody needs it",
        )
    for subnet in (CLUSTER_CIDR, SERVICE_CIDR):
        routes = json.loads(run.output(["ip", "-json", "route", "show", "root", subnet]) or "[]")
        if foreign := [route for route in routes if route.get("dev") != BRIDGE]:
            raise Failed(
                f"{subnet} is in use: {foreign[0].get('dst')} by {foreign[0].get('dev')}",
                remedy="stop that network, or use kind",
            )
    alive = {name for name, record in processes.recorded(layout).items() if record.alive}
    for name, ports in {**PORTS, "kube-apiserver": (layout.api_port,)}.items():
        for port in ports if name not in alive else ():
            if holder := port_holder(port):
                raise Failed(
                    f"port {port}, which {name} needs, is taken by {holder}",
                    remedy="stop it" + (", or choose another by AION_API_PORT" if name == "kube-apiserver" else ""),
                )


def prepare(layout: Layout) -> None:
    """Have the bridge with its address and owner, forwarding, and the kubelet's cgroup."""
    _remember_sysctls(layout)
    if bridge_owner() is None:
        layout.bridge_begun.touch()
        run.output(["ip", "link", "add", BRIDGE, "type", "bridge"])
    if not bridge_owner():  # `ip link add … alias` is taken and forgotten by some kernels
        run.output(["ip", "link", "set", BRIDGE, "alias", layout.owner])
    run.output(["ip", "address", "replace", f"{NODE_IP}/24", "dev", BRIDGE])
    run.output(["ip", "link", "set", BRIDGE, "up"])
    run.output(["ip", "link", "set", "lo", "up"])
    _keep_in()
    if not bridge_is_filtered():
        run.succeeds(["modprobe", "br_netfilter"])
    for name, value in SYSCTLS.items():
        path = Path("/proc/sys") / name
        if value and path.exists() and path.read_text().strip() != value:
            path.write_text(value)
    for folder in cgroup_folders(layout):
        folder.mkdir(exist_ok=True)
        _pass_on_controllers(folder)


def _keep_in() -> None:
    """Let nothing that is meant for the cluster leave the machine, and no Pod.

    Until kube-proxy has a Service's rules, a packet for its address follows the default route; who answers there would
    keep an API server's connection for good. So Services are routed to the bridge, where nobody answers for them.
    """
    run.output(["ip", "route", "replace", SERVICE_CIDR, "dev", BRIDGE, "src", NODE_IP])
    run.succeeds(["iptables", "--wait", "--new-chain", FENCE])
    out = ["--in-interface", BRIDGE, "!", "--out-interface", BRIDGE, "--jump", FENCE]
    for rule in (["FORWARD", *out], [FENCE, "--jump", "REJECT"]):
        if not run.succeeds(["iptables", "--wait", "--check", *rule]):
            run.output(["iptables", "--wait", "--insert", *rule])


def bridge_owner() -> str | None:
    """Return what is written on the bridge, None where there is none."""
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        return None
    return Path(f"/sys/class/net/{BRIDGE}/ifalias").read_text().strip()


def bridge_is_filtered() -> bool:
    """Say whether iptables sees what crosses a bridge (the br_netfilter module)."""
    return FILTERED.exists() and FILTERED.read_text().strip() != "0"


def cgroup_folders(layout: Layout) -> list[Path]:
    """Return the kubelet's root in every hierarchy: each of v1's, or v2's one."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS / layout.cgroup]
    return [
        path / layout.cgroup
        for path in sorted(CGROUPS.iterdir())
        if path.is_dir() and not path.is_symlink() and (path / "cgroup.procs").exists()
    ]


def port_holder(port: int) -> str | None:
    """Name the process that listens on a TCP port, None where it is free."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else ():
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:  # 0A: LISTEN
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(descriptor.readlink()) in inodes:
                command = (descriptor.parents[1] / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                return f"pid {descriptor.parts[2]} ({command.strip()[:120]})"
        except OSError:
            continue
    return "a process that cannot be seen from here"


def restore_sysctls(layout: Layout) -> None:
    """Put back the values that were there before the first `up`."""
    remembered = layout.state / "sysctls.json"
    if remembered.exists():
        for name, value in json.loads(remembered.read_text()).items():
            path = Path("/proc/sys") / name
            if path.exists() and path.read_text().strip() != value:
                path.write_text(value)


def _remember_sysctls(layout: Layout) -> None:
    remembered = layout.state / "sysctls.json"
    if not remembered.exists():
        now = {name: path.read_text().strip() for name in SYSCTLS if (path := Path("/proc/sys") / name).exists()}
        remembered.write_text(json.dumps(now))


def _pass_on_controllers(folder: Path) -> None:
    """On cgroup v2, let the children of the root and of ours have every controller; v1 has no such file."""
    for parent in (folder.parent, folder):
        switch, available = parent / "cgroup.subtree_control", parent / "cgroup.controllers"
        if switch.exists() and available.exists():
            for controller in available.read_text().split():
                try:
                    switch.write_text(f"+{controller}")
                except OSError:  # one that cannot be passed on here (rdma, misc): the kubelet does not need it
                    continue


def resolves(name: str, *, server: str, timeout: float = 0.5) -> str | None:
    """Ask a DNS server for an A record, as a Pod would; None where it does not answer with one."""
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(timeout)
        try:
            asker.sendto(b"\x0a\x10\1\0\0\1\0\0\0\0\0\0" + question, (server, 53))
            answer = asker.recv(512)
        except OSError:
            return None
    answers = int.from_bytes(answer[6:8], "big")
    return ".".join(map(str, answer[-4:])) if answers == 1 and answer[3] & 15 == 0 else None
