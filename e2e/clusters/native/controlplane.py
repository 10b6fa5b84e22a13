"""etcd, the API server, the controller manager and the scheduler: their arguments and why they have them.

Upstream defaults stand unless a line here says otherwise: a benchmark on this cluster should mean
something on another.
"""

import http.client
import shutil
from collections.abc import Callable
from pathlib import Path

from clusters.failure import Failed
from clusters.native import processes
from clusters.native.api import Api
from clusters.native.layout import API_SERVICE_IP, CLUSTER_CIDR, NODE_IP, SERVICE_CIDR, Layout
from clusters.native.waiting import until

ETCD = "http://127.0.0.1:2379"


def start_etcd(layout: Layout, binaries: Path, *, note: Callable[[str], None]) -> None:
    """Start etcd; where what its folder holds cannot be read any more, start it empty and say so."""
    held_data = layout.etcd.exists()
    try:
        _start_etcd(layout, binaries)
    except Failed:
        if not held_data:
            raise
        note("etcd cannot read its data (a power cut?): the cluster starts empty")
        for record in (processes.recorded(layout).get(name) for name in ("kube-apiserver", "etcd")):
            if record:
                processes.stop(record)
        shutil.rmtree(layout.etcd)
        _start_etcd(layout, binaries)


def _start_etcd(layout: Layout, binaries: Path) -> None:
    processes.ensure(
        layout,
        "etcd",
        [
            binaries / "etcd",
            "--name=aion-local",
            f"--data-dir={layout.etcd}",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--initial-advertise-peer-urls=http://127.0.0.1:2380",
            "--initial-cluster=aion-local=http://127.0.0.1:2380",
            "--unsafe-no-fsync",  # test data: a power cut may cost it, and that is noticed above
            "--log-level=warn",
        ],
    )
    until(_etcd_answers, layout=layout, what="etcd is not healthy", needs=("etcd",), seconds=30)


def _etcd_answers() -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", 2379, timeout=2)
    try:
        connection.request("GET", "/health")
        return b'"true"' in connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def start_api_server(layout: Layout, binaries: Path) -> None:
    """Start the API server; it listens on every address, because Pods reach it on the bridge's and people on 127.0.0.1."""
    pki = layout.pki
    processes.ensure(
        layout,
        "kube-apiserver",
        [
            binaries / "kube-apiserver",
            f"--etcd-servers={ETCD}",
            "--bind-address=0.0.0.0",
            f"--secure-port={layout.api_port}",
            f"--advertise-address={NODE_IP}",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--client-ca-file={pki}/ca.crt",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",  # else `kubectl logs` asks DNS for the node's name
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            # the aggregation layer, for metrics-server
            f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={pki}/front-proxy.crt",
            f"--proxy-client-key-file={pki}/front-proxy.key",
        ],
        watch=[pki / "made-for"],
    )


def await_api_server(layout: Layout) -> None:
    """Return when it is ready. Raises Failed."""
    until(
        Api(layout).ready,
        layout=layout,
        what=f"the API server ({API_SERVICE_IP}, {layout.api_url}) is not ready",
        needs=("kube-apiserver", "etcd"),
        seconds=90,
    )


def start_controllers(layout: Layout, binaries: Path) -> None:
    """Start the controller manager and the scheduler; one of each, so no leader election."""
    pki = layout.pki
    processes.ensure(
        layout,
        "kube-controller-manager",
        [
            binaries / "kube-controller-manager",
            f"--kubeconfig={pki}/controller-manager.conf",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--cluster-cidr={CLUSTER_CIDR}",
            f"--service-account-private-key-file={pki}/sa.key",
            f"--root-ca-file={pki}/ca.crt",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
        ],
        watch=[pki / "made-for"],
    )
    processes.ensure(
        layout,
        "kube-scheduler",
        [
            binaries / "kube-scheduler",
            f"--kubeconfig={pki}/scheduler.conf",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        ],
        watch=[pki / "made-for"],
    )
