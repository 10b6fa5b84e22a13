import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from launch_fixture import dial, started


def run(*argv: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(a) for a in argv], check=False, capture_output=True, text=True, timeout=20, **options)


def test_install_copies_itself_and_its_companions_read_only_and_executable(launch: Path, tmp_path: Path):
    assert run(launch, "--install", tmp_path).returncode == 0
    assert {p.name for p in tmp_path.iterdir()} == {"aion-launch", "pytool.py"}
    assert (tmp_path / "aion-launch").read_bytes() == launch.read_bytes()
    assert {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()} == {0o555}


def test_installing_twice_replaces_what_stands_there(launch: Path, tmp_path: Path):
    (tmp_path / "aion-launch").write_text("old")
    for _ in range(2):
        assert run(launch, "--install", tmp_path).returncode == 0
    assert run(tmp_path / "aion-launch", "--help").returncode == 0


def test_installed_returns_when_the_neighbour_has_put_it_there(launch: Path, tmp_path: Path):
    with started(launch, "--installed", tmp_path) as waiting:
        time.sleep(0.05)
        assert waiting.poll() is None
        run(launch, "--install", tmp_path)
        assert waiting.wait(5) == 0


def test_installed_gives_up_and_says_where_to_look(launch: Path, tmp_path: Path):
    done = run(launch, "--installed", tmp_path, "--within", 1)
    assert done.returncode == 124
    assert "did not appear within 1 s" in done.stderr


def test_the_program_finds_its_sockets_already_listening(launch: Path, tmp_path: Path):
    program = (
        "import os, socket, time; assert int(os.environ['LISTEN_PID']) == os.getpid(); time.sleep(0.2);"
        "print(os.environ['LISTEN_FDNAMES'], os.environ['LISTEN_FDS'], flush=True);"
        "s = socket.socket(fileno=3); c, _ = s.accept(); c.sendall(b'unix');"
        "t = socket.socket(fileno=4); print(t.getsockname()[1], flush=True); c, _ = t.accept(); c.sendall(b'tcp')"
    )
    gw = tmp_path / "gw.sock"
    argv = [launch, "--install", tmp_path, "--listen", f"unix={gw}", "--listen", "tcp=127.0.0.1:0"]
    with started(*argv, "--", sys.executable, "-c", program, stdout=subprocess.PIPE) as process:
        with dial(gw) as early:  # long before the program accepts
            assert stat.S_IMODE(gw.stat().st_mode) == 0o666
            assert process.stdout is not None
            assert process.stdout.readline() == "unix:tcp 2\n"
            assert early.recv(9) == b"unix"
        with socket.create_connection(("127.0.0.1", int(process.stdout.readline()))) as tcp:
            assert tcp.recv(9) == b"tcp"
        assert process.wait(5) == 0


def test_a_stale_socket_is_replaced_but_a_file_is_not(launch: Path, tmp_path: Path):
    stale = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(stale))
    assert run(launch, "--listen", f"a={stale}", "--", "true").returncode == 0
    (tmp_path / "f").write_text("precious")
    refused = run(launch, "--listen", f"a={tmp_path / 'f'}", "--", "true")
    assert refused.returncode == 126
    assert (tmp_path / "f").read_text() == "precious"


def serve_statuses(path: Path, answers: list[bytes]) -> threading.Thread:
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(path))
    door.listen()

    def work() -> None:
        with door:
            for answer in answers:
                conn, _ = door.accept()
                with conn:
                    assert conn.recv(999).startswith(b"GET /v1/admit HTTP/1.1\r\n")
                    conn.sendall(answer)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_the_agent_starts_only_after_the_gateway_admits_it(launch: Path, tmp_path: Path):
    gw = tmp_path / "gw.sock"
    with started(launch, "--await", gw, "--", "echo", "agent", stdout=subprocess.PIPE) as process:
        time.sleep(0.05)
        assert process.poll() is None
        no = b"HTTP/1.1 503 Service Unavailable\r\n\r\n"
        gateway = serve_statuses(gw, [no, b"", no, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"])
        assert process.stdout is not None
        assert process.stdout.read() == "agent\n"
        assert process.wait(5) == 0
        gateway.join()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 Busy\r\n\r\n", b"rubbish and more rubbish\r\n", b""])
def test_an_agent_that_is_never_admitted_is_told_why(launch: Path, tmp_path: Path, answer: bytes):
    gw = tmp_path / "gw.sock"
    gateway = serve_statuses(gw, [answer])
    done = run(launch, "--await", gw, "--within", 1, "--", "true")
    gateway.join()
    assert done.returncode == 124
    assert "no admission by the gateway" in done.stderr


def test_a_refusal_by_the_gateway_is_final(launch: Path, tmp_path: Path):
    gateway = serve_statuses(tmp_path / "s", [b"HTTP/1.1 403 Forbidden\r\n\r\n"])
    done = run(launch, "--await", tmp_path / "s", "--", "true")
    gateway.join()
    assert (done.returncode, "HTTP 403" in done.stderr) == (126, True)


def test_a_program_that_is_not_there_is_127_and_one_that_cannot_run_is_126(launch: Path, tmp_path: Path):
    assert run(launch, "--", "no-such-program").returncode == 127
    (tmp_path / "x").write_text("")
    assert run(launch, "--", tmp_path / "x").returncode == 126


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--nonsense"],
        ["--install"],
        ["--listen", "a=/x"],
        ["--listen", "=/x", "--", "true"],
        ["--listen", "a=1.2.3.4:99999", "--", "true"],
        ["--listen", "a=" + "/x" * 99, "--", "true"],
        ["--serve", "/x"],
        ["--serve", "/x", "--file", "/y", "--", "true"],
        ["--await", "/x", "--within", "0", "--", "true"],
        ["--installed", "/x", "--", "true"],
    ],
)
def test_wrong_usage_is_64_and_one_line(launch: Path, argv: list[str]):
    done = run(launch, *argv)
    assert done.returncode == 64
    assert done.stderr.startswith("aion-launch: ")
    assert done.stderr.count("\n") == 1


def test_it_is_static_and_small(launch: Path):
    assert launch.stat().st_size < 100_000
    assert b"ld-linux" not in launch.read_bytes()
