"""Certificates and kubeconfigs: made by openssl, once, and again when they run out or the plan changes.

Two authorities, as kubeadm has them: one for the cluster, one for the aggregation layer's proxy, so that
no client certificate of the first can pass as the proxy. Private keys never leave the state folder.
"""

import base64
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from clusters import run
from clusters.native.layout import API_SERVICE_IP, DOMAIN, NODE, NODE_IP, Layout

DAYS = 365
RENEW_WITHIN = 7 * 24 * 3600  # s: a cluster that is brought up should last the week


@dataclass(frozen=True)
class Leaf:
    """One certificate: its subject, what it may be used for, and the names it answers to."""

    name: str
    subject: str
    usage: str = "clientAuth"
    names: tuple[str, ...] = ()
    authority: str = "ca"


LEAVES = (
    Leaf(
        "apiserver",
        "/CN=kube-apiserver",
        "serverAuth",
        (
            "DNS:localhost",
            "DNS:kubernetes",
            "DNS:kubernetes.default",
            "DNS:kubernetes.default.svc",
            f"DNS:kubernetes.default.svc.{DOMAIN}",
            "IP:127.0.0.1",
            f"IP:{API_SERVICE_IP}",
            f"IP:{NODE_IP}",
        ),
    ),
    Leaf("apiserver-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet-client"),
    Leaf("front-proxy", "/CN=front-proxy-client", authority="front-proxy-ca"),
    Leaf("admin", "/O=system:masters/CN=kubernetes-admin"),
    Leaf("controller-manager", "/CN=system:kube-controller-manager"),
    Leaf("scheduler", "/CN=system:kube-scheduler"),
    Leaf("proxy", "/CN=system:kube-proxy"),
    Leaf(
        "kubelet",
        f"/O=system:nodes/CN=system:node:{NODE}",
        "serverAuth,clientAuth",
        (f"DNS:{NODE}", "IP:127.0.0.1", f"IP:{NODE_IP}"),
    ),
)
KUBECONFIGS = ("admin", "controller-manager", "scheduler", "proxy", "kubelet")


def ensure(layout: Layout) -> bool:
    """Have valid certificates and kubeconfigs; say whether they were made anew."""
    stamp, wanted = layout.pki / "made-for", _plan(layout)
    fresh = not (stamp.exists() and stamp.read_text().split()[0] == wanted and _lasting(layout))
    if fresh:
        shutil.rmtree(layout.pki, ignore_errors=True)
        layout.pki.mkdir(mode=0o700, parents=True)
        for authority in ("ca", "front-proxy-ca"):
            _authority(layout.pki, authority)
        for leaf in LEAVES:
            _leaf(layout.pki, leaf)
        run.output(["openssl", "genrsa", "-out", layout.pki / "sa.key", "2048"])
        run.output(["openssl", "rsa", "-in", layout.pki / "sa.key", "-pubout", "-out", layout.pki / "sa.pub"])
        for name in KUBECONFIGS:
            _private(layout.pki / f"{name}.conf", kubeconfig(layout, name))
        authority = hashlib.sha256((layout.pki / "ca.crt").read_bytes()).hexdigest()
        stamp.write_text(f"{wanted}\n{authority}\n")  # last: a torn run is done again; processes watch this file
    _private(layout.kubeconfig, (layout.pki / "admin.conf").read_text())
    return fresh


def kubeconfig(layout: Layout, name: str) -> str:
    """Return a kubeconfig (JSON is YAML) with everything embedded, so that the file can be copied away."""

    def embedded(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    cluster = {"server": layout.api_url, "certificate-authority-data": embedded(layout.pki / "ca.crt")}
    user = {
        "client-certificate-data": embedded(layout.pki / f"{name}.crt"),
        "client-key-data": embedded(layout.pki / f"{name}.key"),
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "aion-os",
            "clusters": [{"name": "aion-os", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "aion-os", "context": {"cluster": "aion-os", "user": name}}],
        },
        indent=1,
    )


def _plan(layout: Layout) -> str:
    return hashlib.sha256(repr((LEAVES, KUBECONFIGS, layout.api_url, DAYS)).encode()).hexdigest()


def _lasting(layout: Layout) -> bool:
    return run.succeeds(
        ["openssl", "x509", "-in", layout.pki / "apiserver.crt", "-noout", "-checkend", str(RENEW_WITHIN)]
    )


def _authority(folder: Path, name: str) -> None:
    _key(folder / f"{name}.key")
    run.output(
        [
            "openssl",
            "req",
            "-x509",
            "-new",
            "-key",
            folder / f"{name}.key",
            "-subj",
            f"/CN=aion-os-{name}",
            "-days",
            str(DAYS),
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
            "-out",
            folder / f"{name}.crt",
        ]
    )


def _leaf(folder: Path, leaf: Leaf) -> None:
    key, request, extensions = (folder / f"{leaf.name}.{end}" for end in ("key", "csr", "ext"))
    _key(key)
    run.output(["openssl", "req", "-new", "-key", key, "-subj", leaf.subject, "-out", request])
    lines = ["keyUsage=critical,digitalSignature", f"extendedKeyUsage={leaf.usage}"]
    extensions.write_text("\n".join(lines + ([f"subjectAltName={','.join(leaf.names)}"] if leaf.names else [])))
    authority = folder / leaf.authority
    run.output(
        [
            "openssl",
            "x509",
            "-req",
            "-in",
            request,
            "-CA",
            f"{authority}.crt",
            "-CAkey",
            f"{authority}.key",
            "-CAcreateserial",
            "-days",
            str(DAYS),
            "-extfile",
            extensions,
            "-out",
            folder / f"{leaf.name}.crt",
        ]
    )
    request.unlink()
    extensions.unlink()


def _key(path: Path) -> None:
    run.output(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path])
    path.chmod(0o600)


def _private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
