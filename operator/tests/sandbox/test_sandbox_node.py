import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aion.sandbox import labels, node, profiles


class Api:
    """One node object behind GET and merge-PATCH, as the API server answers them."""

    def __init__(self, disk: Path, profile: profiles.Profile) -> None:
        self.labels: dict[str, str] = {"kubernetes.io/os": "linux"}
        self.down = False
        self.labelled_before_whole = False
        api = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, status: int, document: dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                if api.down or self.headers["Authorization"] != "Bearer t0ken":
                    return self.answer(500, {"message": "etcd is away"})
                assert self.path == "/api/v1/nodes/n1"
                return self.answer(200, {"metadata": {"labels": api.labels}})

            def do_PATCH(self) -> None:
                assert self.headers["Content-Type"] == "application/merge-patch+json"
                changes = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["metadata"]["labels"]
                for key, value in changes.items():
                    if value is None:
                        api.labels.pop(key, None)
                    else:
                        path = disk / "seccomp" / profile.path
                        api.labelled_before_whole |= not path.exists() or path.read_bytes() != profile.body
                        api.labels[key] = value
                self.answer(200, {"metadata": {"labels": api.labels}})

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def sealed() -> profiles.Profile:
    return profiles.load(profiles.CHECKOUT)["sealed"]


@pytest.fixture
def api(tmp_path: Path, sealed: profiles.Profile) -> Iterator[Api]:
    api = Api(tmp_path, sealed)
    thread = threading.Thread(target=api.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield api
    api.server.shutdown()
    api.server.server_close()
    thread.join()


@pytest.fixture
def this(tmp_path: Path, sealed: profiles.Profile, api: Api) -> node.Node:
    (tmp_path / "token").write_text("t0ken\n")
    return node.Node({"sealed": sealed}, tmp_path, labels.NodeLabels("n1", api.url, tmp_path))


def file_of(disk: Path, profile: profiles.Profile) -> Path:
    return disk / "seccomp" / "aion" / f"{profile.sha256}.json"


def test_a_new_node_gets_the_file_and_then_the_label(
    this: node.Node, api: Api, tmp_path: Path, sealed: profiles.Profile
):
    sight = this.keep()
    assert (sight.ready, sight.written) == (True, ("sealed",))
    assert file_of(tmp_path, sealed).read_bytes() == sealed.body
    assert api.labels == {"kubernetes.io/os": "linux", sealed.node_label: "ready"}
    assert not api.labelled_before_whole
    assert [p.name for p in file_of(tmp_path, sealed).parent.iterdir()] == [f"{sealed.sha256}.json"]
    again = this.keep()
    assert (again.written, again.relabelled) == ((), ())


@pytest.mark.parametrize("harm", ["delete", "tamper", "truncate", "symlink"])
def test_a_file_that_was_harmed_is_made_whole(this: node.Node, tmp_path: Path, sealed: profiles.Profile, harm: str):
    this.keep()
    path = file_of(tmp_path, sealed)
    if harm == "tamper":
        path.write_bytes(sealed.body.replace(b"SCMP_ACT_ERRNO", b"SCMP_ACT_ALLOW"))
    elif harm == "truncate":
        path.write_bytes(b"")
    else:
        path.unlink()
        if harm == "symlink":
            (tmp_path / "elsewhere").write_bytes(sealed.body)
            path.symlink_to(tmp_path / "elsewhere")
    assert this.keep().written == ("sealed",)
    assert path.read_bytes() == sealed.body
    assert not path.is_symlink()


def test_a_label_that_was_taken_away_comes_back(this: node.Node, api: Api, sealed: profiles.Profile):
    this.keep()
    del api.labels[sealed.node_label]
    assert this.keep().relabelled == (sealed.node_label,)
    assert api.labels[sealed.node_label] == "ready"


def test_a_profile_that_cannot_be_written_loses_its_label(
    this: node.Node, api: Api, tmp_path: Path, sealed: profiles.Profile
):
    this.keep()
    file_of(tmp_path, sealed).unlink()
    file_of(tmp_path, sealed).mkdir()
    sight = this.keep()
    assert not sight.ready
    assert "sealed is not on this node" in sight.problems[0]
    assert sealed.node_label not in api.labels


def test_a_label_of_a_profile_that_is_no_longer_shipped_goes(this: node.Node, api: Api):
    api.labels["seccomp.aion.os/0123456789abcdef"] = "ready"
    this.keep()
    assert "seccomp.aion.os/0123456789abcdef" not in api.labels
    assert api.labels["kubernetes.io/os"] == "linux"


def test_without_the_api_server_the_disk_still_heals(
    this: node.Node, api: Api, tmp_path: Path, sealed: profiles.Profile
):
    api.down = True
    sight = this.keep()
    assert (sight.ready, sight.written) == (False, ("sealed",))
    assert "etcd is away" in sight.problems[0]
    api.down = False
    assert this.keep().ready


def test_a_foreign_label_is_never_written(this: node.Node):
    with pytest.raises(ValueError, match="seccomp"):
        this.labels.write({"kubernetes.io/os": None})


def page(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def eventually(ask: Any) -> None:
    end = time.monotonic() + 15
    while True:
        try:
            if ask():
                return
        except OSError:
            pass
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_process_serves_its_pages_heals_and_leaves_on_sigterm(api: Api, tmp_path: Path, sealed: profiles.Profile):
    (tmp_path / "token").write_text("t0ken")
    api.down = True
    port = 18030 + os.getpid() % 1000
    told = {"NODE_NAME": "n1", "KUBELET_ROOT": tmp_path, "PORT": port, "PERIOD_S": "0.1", "API_SERVER": api.url}
    env = os.environ | {f"AION_{k}": str(v) for k, v in told.items()} | {"AION_SERVICE_ACCOUNT": str(tmp_path)}
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen([sys.executable, "-m", "aion.sandbox"], cwd=root, env=env, stdout=subprocess.PIPE)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: "etcd is away" in page(f"{url}/readyz")[1])
        assert page(f"{url}/readyz")[0] == 503
        assert page(f"{url}/healthz")[0] == 200
        api.down = False
        eventually(lambda: page(f"{url}/readyz")[0] == 200)
        file_of(tmp_path, sealed).unlink()
        eventually(file_of(tmp_path, sealed).exists)
        assert "aion_sandbox_node_ready 1.0" in page(f"{url}/metrics")[1]
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=10)
        assert process.returncode == 0
        assert all(json.loads(line)["event"].startswith("profiles.") for line in out.splitlines())
    finally:
        process.kill()
        process.communicate()
