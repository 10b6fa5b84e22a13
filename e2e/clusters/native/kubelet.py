"""The node: kubelet and kube-proxy.

Where a value differs from upstream's default the line says which machine it is for; what decides how
fast a Pod starts is left as upstream has it.
"""

import json
import time
from datetime import datetime
from pathlib import Path

from clusters.native import configfile, machine, processes
from clusters.native.api import Api
from clusters.native.layout import CLUSTER_CIDR, DNS_IP, DOMAIN, NODE, NODE_IP, Layout
from clusters.native.waiting import until

LEASE = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}"
LEASE_FRESH = 40.0  # s: the controller manager's own measure of a node that is away


def start(layout: Layout, binaries: Path) -> None:
    """Write their configurations and have both run with them."""
    resolv, config, proxy = (
        layout.config / "resolv.conf",
        layout.config / "kubelet.json",
        layout.config / "kube-proxy.json",
    )
    configfile.write(resolv, f"nameserver {DNS_IP}\n")
    configfile.write(config, json.dumps(configuration(layout, resolv), indent=1))
    configfile.write(proxy, json.dumps(proxy_configuration(layout), indent=1))
    (layout.kubelet_root / "seccomp").mkdir(parents=True, exist_ok=True)
    processes.ensure(
        layout,
        "kubelet",
        [
            binaries / "kubelet",
            f"--config={config}",
            f"--kubeconfig={layout.pki}/kubelet.conf",
            f"--root-dir={layout.kubelet_root}",
            f"--hostname-override={NODE}",
            f"--node-ip={NODE_IP}",
            "--node-labels=aion.os/cluster=e2e",
        ],
        watch=[config, layout.pki / "made-for"],
    )
    processes.ensure(
        layout,
        "kube-proxy",
        [
            binaries / "kube-proxy",
            f"--config={proxy}",
            f"--hostname-override={NODE}",
        ],
        watch=[proxy, layout.pki / "made-for"],
    )


def await_ready(layout: Layout) -> None:
    """Return when the node is Ready and its lease is fresh: a Ready from before a power cut does not count."""
    until(
        lambda: ready(Api(layout), now=time.time()),
        layout=layout,
        what=f"node {NODE} is not Ready",
        needs=("kubelet", "kube-proxy", "containerd"),
        seconds=90,
    )


def ready(api: Api, *, now: float) -> bool:
    """Say whether the kubelet lives and calls its node Ready."""
    node, lease = api.get(f"/api/v1/nodes/{NODE}"), api.get(LEASE)
    if not node or not lease:
        return False
    renewed = datetime.fromisoformat(lease["spec"]["renewTime"]).timestamp()
    conditions = {c["type"]: c["status"] for c in node["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and now - renewed < LEASE_FRESH


def configuration(layout: Layout, resolv: Path) -> dict[str, object]:
    """Return the KubeletConfiguration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_IP,  # not on the machine's own network
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(layout.pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(layout.pki / "kubelet.key"),
        "clusterDNS": [DNS_IP],
        "clusterDomain": DOMAIN,
        "resolvConf": str(resolv),
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "cgroupDriver": "cgroupfs",  # systemd may not be the init here
        "cgroupRoot": f"/{layout.cgroup}",
        "failSwapOn": False,
        "podLogsDir": str(layout.state / "pod-logs"),
        "volumePluginDir": str(layout.state / "volume-plugins"),
        # a developer's disk is often 90 % full: evict by what is left, not by share, and never collect loaded images
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "1Gi", "imagefs.available": "1Gi"},
        "imageGCHighThresholdPercent": 100,
    }


def proxy_configuration(layout: Layout) -> dict[str, object]:
    """Return the KubeProxyConfiguration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": CLUSTER_CIDR,
        "clientConnection": {"kubeconfig": str(layout.pki / "proxy.conf")},
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        # the sysctl is the machine's, and cannot be written in many containers
        "conntrack": {"maxPerCore": 0, "min": 0},
        # without br_netfilter an answer from Pod to Pod over the bridge would miss its way back through NAT
        "iptables": {"masqueradeAll": not machine.bridge_is_filtered()},
    }
