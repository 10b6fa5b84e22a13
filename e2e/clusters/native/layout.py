"""Names, addresses and paths of the native cluster, in one place because the parts must agree on them.

Pure: it must never look at the machine.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from clusters.settings import SOURCES, Settings

VERSION = "v1.34.4"
NODE = "aion-local"
BRIDGE = "aion0"  # IFNAMSIZ allows 15
NETWORK = "aion-e2e"  # the CNI network's name: how leftovers of ours are told from another's
NODE_IP = "10.244.0.1"  # the bridge's own address: nothing depends on the machine's network
POD_SUBNET = "10.244.0.0/24"  # 254 addresses for at most 110 Pods
CLUSTER_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
DNS_IP = "10.96.0.10"
DOMAIN = "cluster.local"
GO_MODULE = SOURCES / "native" / "go"

PORTS = {  # what each component listens on beside the API server's own port
    "etcd": (2379, 2380),
    "kube-controller-manager": (10257,),
    "kube-scheduler": (10259,),
    "kubelet": (10248, 10250),
    "kube-proxy": (10249, 10256),
}


@dataclass(frozen=True)
class Layout:
    """Paths under the state folder. Everything the cluster writes is below `state` or undone by `clean`."""

    settings: Settings

    @property
    def state(self) -> Path:
        return self.settings.state

    @property
    def api_port(self) -> int:
        return self.settings.api_port

    @property
    def api_url(self) -> str:
        return f"https://127.0.0.1:{self.api_port}"

    @property
    def marker(self) -> Path:
        """The file that says this folder is ours to remove."""
        return self.state / "this-is-an-aion-os-cluster"

    @property
    def kubeconfig(self) -> Path:
        return self.settings.kubeconfig

    @property
    def bin(self) -> Path:
        return self.state / "bin"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def etcd(self) -> Path:
        return self.state / "etcd"

    @property
    def kubelet_root(self) -> Path:
        return self.state / "kubelet"

    @property
    def containerd(self) -> Path:
        return self.state / "containerd"

    @property
    def containerd_socket(self) -> Path:
        return self.containerd / "containerd.sock"

    @property
    def records(self) -> Path:
        return self.state / "processes"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @cached_property
    def cgroup(self) -> str:
        """The kubelet's cgroup root: of this state folder alone, so that what is below it is ours to kill."""
        return "aion-os-" + hashlib.sha256(str(self.state).encode()).hexdigest()[:8]

    @property
    def bridge_begun(self) -> Path:
        """Is there from just before the bridge is made: a bridge without a name is ours then."""
        return self.state / "bridge-begun"

    @property
    def owner(self) -> str:
        """What is written on the bridge, so that a second cluster can say whose it is."""
        return f"aion-os:{self.state}"
