"""A real etcd and API server for tests: started on free loopback ports, stopped by process id.

It stands apart because several packages test against it and `e2e/scale` measures on it, and because only a real API server knows
what a CRD's schema, CEL and server-side apply do. There is no kubelet, scheduler or controller-manager behind it: a test plays them where it needs them.
It must never skip in silence: without the binary it fails and says how to get one.
"""

import os
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_START_S = 60.0


@dataclass(frozen=True)
class ApiServer:
    """Where the server is, and everything that an administrator's client needs."""

    url: str
    ca: Path
    cert: Path
    key: Path
    kubeconfig: Path
    binary: Path
    folder: Path
    etcd_url: str
    peer_url: str
    processes: dict[str, subprocess.Popen[bytes]] = field(repr=False)
    kubectl_argv: tuple[str, ...] = ()

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator; `check` raises with what it printed."""
        argv = [*self.kubectl_argv, "--kubeconfig", str(self.kubeconfig), *args]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        if check and done.returncode:
            msg = f"{' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            raise AssertionError(msg)
        return done


def binary() -> Path:
    """The one binary that holds every server: named by the environment, else in the cache of e2e/cluster."""
    if named := os.environ.get("AION_HYPERKUBE"):
        path = Path(named)
    else:
        path = Path(os.environ.get("AION_CACHE", "~/.cache/aion-os")).expanduser() / "bin/current/hyperkube"
    if not os.access(path, os.X_OK):
        pytest.fail(f"no executable at {path}: run `e2e/cluster up` once, or set AION_HYPERKUBE", pytrace=False)
    return path


def _openssl(*args: str, cwd: Path) -> None:
    subprocess.run(["openssl", *args], cwd=cwd, check=True, capture_output=True)


def _certificates(at: Path) -> None:
    """One CA, a serving pair for 127.0.0.1, an administrator's pair and the ServiceAccounts' signing key. EC keys: instant."""
    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl("req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.crt", "-days", "3650", "-subj", "/CN=aion-test-ca",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature", cwd=at)  # fmt: skip
    for name, subject, usage in (
        ("server", "/CN=kube-apiserver", "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth"),
        ("admin", "/O=system:masters/CN=admin", "extendedKeyUsage=clientAuth"),
    ):
        (at / f"{name}.ext").write_text(f"{usage}\nkeyUsage=critical,digitalSignature\nauthorityKeyIdentifier=keyid\n")
        _openssl("req", *ec, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject, cwd=at)
        _openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                 "-out", f"{name}.crt", "-days", "3650", "-extfile", f"{name}.ext", cwd=at)  # fmt: skip
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sa.key", cwd=at)
    _openssl("ec", "-in", "sa.key", "-pubout", "-out", "sa.pub", cwd=at)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in held]
    for sock in held:
        sock.close()
    return ports


def _spawn(name: str, argv: list[str], *, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)


def etcd_argv(server: ApiServer) -> list[str]:
    peer = server.peer_url
    return [
        str(server.binary), "etcd", "--data-dir", "etcd", "--unsafe-no-fsync", "--log-level=warn",
        "--listen-client-urls", server.etcd_url, "--advertise-client-urls", server.etcd_url,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
    ]  # fmt: skip


def apiserver_argv(server: ApiServer) -> list[str]:
    """A minimal, honest server: RBAC on, ServiceAccount admission off because no controller makes `default` accounts here."""
    port = server.url.rsplit(":", 1)[1]
    return [
        str(server.binary), "kube-apiserver", "--etcd-servers", server.etcd_url, "--secure-port", port,
        "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--tls-cert-file=server.crt",
        "--tls-private-key-file=server.key", "--client-ca-file=ca.crt", "--authorization-mode=RBAC",
        "--service-account-key-file=sa.pub", "--service-account-signing-key-file=sa.key",
        "--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.96.0.0/16",
        "--disable-admission-plugins=ServiceAccount", "--profiling=false",
    ]  # fmt: skip


def start(server: ApiServer, name: str, argv: list[str]) -> None:
    server.processes[name] = _spawn(name, argv, folder=server.folder)


def stop(server: ApiServer, name: str, *, kill: bool = False) -> None:
    process = server.processes.pop(name, None)
    if process is None:
        return
    process.kill() if kill else process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_ready(server: ApiServer) -> None:
    """Until /readyz says ok; a server that died or took too long fails with the end of its log."""
    context = ssl.create_default_context(cafile=str(server.ca))
    context.load_cert_chain(server.cert, server.key)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and all(p.poll() is None for p in server.processes.values()):
        try:
            with opener.open(f"{server.url}/readyz", timeout=2):
                return
        except urllib.error.HTTPError as answer:
            answer.close()
        except OSError:
            pass
        time.sleep(0.1)
    logs = "\n".join(
        f"--- {p.name}\n{p.read_text(errors='replace')[-2000:]}" for p in sorted(server.folder.glob("*.log"))
    )
    pytest.fail(f"the API server was not ready within {_START_S:.0f} s\n{logs}", pytrace=False)


def _kubeconfig(at: Path, url: str) -> str:
    return (
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n"
        f"clusters: [{{name: test, cluster: {{server: '{url}', certificate-authority: '{at}/ca.crt'}}}}]\n"
        f"users: [{{name: admin, user: {{client-certificate: '{at}/admin.crt', client-key: '{at}/admin.key'}}}}]\n"
        "contexts: [{name: test, context: {cluster: test, user: admin, namespace: default}}]\n"
    )


def prepare(at: Path) -> ApiServer:
    """A server that is not started yet: its certificates, kubeconfig and ports. Whoever starts it stops it."""
    exe = binary()
    _certificates(at)
    client, peer, secure = free_ports(3)
    url = f"https://127.0.0.1:{secure}"
    (at / "kubeconfig").write_text(_kubeconfig(at, url))
    return ApiServer(
        url=url, ca=at / "ca.crt", cert=at / "admin.crt", key=at / "admin.key", kubeconfig=at / "kubeconfig", binary=exe,
        folder=at, etcd_url=f"http://127.0.0.1:{client}",
        peer_url=f"http://127.0.0.1:{peer}", processes={}, kubectl_argv=(str(exe), "kubectl"),
    )  # fmt: skip


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """One real etcd + kube-apiserver for the whole test session; tests keep apart by namespace."""
    server = prepare(tmp_path_factory.mktemp("apiserver"))
    try:
        start(server, "etcd", etcd_argv(server))
        start(server, "kube-apiserver", apiserver_argv(server))
        wait_ready(server)
        yield server
    finally:
        stop(server, "kube-apiserver")
        stop(server, "etcd")
