"""The container runtime: a containerd of our own, with its own root, state and socket.

A Docker or containerd that the machine has already is left alone. Everything it writes lies under the
state folder, network namespaces included, so that `clean` finds it all by path.
"""

import json

from clusters import run
from clusters.failure import Failed
from clusters.native import configfile, processes
from clusters.native.layout import BRIDGE, NETWORK, POD_SUBNET, Layout
from clusters.native.waiting import until

PAUSE_IMAGE = "localhost/aion-os/pause:1"
SOCKET_PATH_MOST = 100  # bytes: sun_path holds 107, and containerd adds ".ttrpc"

CONFIG = """\
version = 2
root = "{containerd}/root"
state = "{containerd}/state"
# what this cluster has no use for; each would only log that it cannot be used
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]

[grpc]
  address = "{containerd}/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "{containerd}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # without CAP_SYS_RESOURCE runc may not lower the pause process's oom_score_adj to -998, and dies of it
  restrict_oom_score_adj = true
  # network namespaces under `state` instead of /var/run/netns: ours are told from others' by path
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "{containerd}/runc"
"""


def start(layout: Layout) -> None:
    """Write the configuration and have containerd run with it."""
    if len(str(layout.containerd_socket).encode()) > SOCKET_PATH_MOST:
        raise Failed(
            f"{layout.state}: the path is too long for a unix socket in it", remedy="set AION_STATE to a shorter path"
        )
    cni = layout.config / "cni"
    cni.mkdir(parents=True, exist_ok=True)
    layout.containerd.mkdir(parents=True, exist_ok=True)
    configfile.write(cni / "10-aion.conflist", json.dumps(network(layout), indent=1))
    config = layout.config / "containerd.toml"
    configfile.write(
        config,
        CONFIG.format(containerd=layout.containerd, pause=PAUSE_IMAGE, cni=cni, snapshotter=_snapshotter(layout)),
    )
    processes.ensure(layout, "containerd", ["containerd", "--config", config], watch=[config])
    until(
        lambda: run.succeeds([*ctr(layout), "version"]),
        layout=layout,
        what="containerd does not answer",
        needs=("containerd",),
        seconds=30,
    )


def ctr(layout: Layout) -> list[str]:
    """Return the command that speaks to our containerd, in Kubernetes' namespace."""
    return ["ctr", "--address", str(layout.containerd_socket), "--namespace", "k8s.io"]


def network(layout: Layout) -> dict[str, object]:
    """Return the Pods' network: a bridge, no masquerading (Pods reach each other, Services and the node, not the world)."""
    ipam = {
        "type": "host-local",
        "dataDir": str(layout.state / "ipam"),
        "ranges": [[{"subnet": POD_SUBNET}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": False, "hairpinMode": True, "ipam": ipam}
    return {
        "cniVersion": "1.0.0",
        "name": NETWORK,
        "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}],
    }


def _snapshotter(layout: Layout) -> str:
    """Return overlayfs, or native (copies) where the state folder itself lies on an overlay, which cannot be stacked."""
    kind = run.output(["stat", "--file-system", "--format", "%T", layout.state]).strip()
    return "native" if kind == "overlayfs" else "overlayfs"
