import os
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from launch_fixture import answers, call, dial, exactly, started


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def dies(pid: int, within: float = 5) -> bool:
    end = time.monotonic() + within
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(pid)


def test_a_file_is_served_whole_to_everyone(launch: Path, tmp_path: Path):
    blob = os.urandom(700_000)
    (tmp_path / "tool.wasm").write_bytes(blob)
    with started(launch, "--serve", tmp_path / "s", "--file", tmp_path / "tool.wasm"):
        for _ in range(3):
            with dial(tmp_path / "s") as conn:
                assert b"".join(iter(lambda: conn.recv(65536), b"")) == blob


def test_a_missing_file_is_named_at_once(launch: Path, tmp_path: Path):
    argv = [launch, "--serve", tmp_path / "s", "--file", tmp_path / "nothing.wasm"]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=10)
    assert (done.returncode, "nothing.wasm" in done.stderr) == (127, True)


def test_a_document_goes_in_and_both_streams_and_the_status_come_out(launch: Path, tmp_path: Path):
    with started(launch, "--serve", tmp_path / "s", "--", "sh", "-c", "cat; echo oops >&2; exit 3"):
        big = os.urandom(3_000_000)
        assert call(tmp_path / "s", b"hello") == (b"hello", b"oops\n", 3)
        with dial(tmp_path / "s") as conn, ThreadPoolExecutor() as pool:
            sent = pool.submit(conn.sendall, struct.pack("<I", len(big)) + big)
            assert answers(conn) == (big, b"oops\n", 3)
            sent.result()


def test_a_death_by_signal_is_minus_the_signal(launch: Path, tmp_path: Path):
    with started(launch, "--serve", tmp_path / "s", "--", "sh", "-c", "kill -SEGV $$"):
        assert call(tmp_path / "s")[2] == -11


def test_a_command_that_is_missing_says_so_in_its_own_call(launch: Path, tmp_path: Path):
    with started(launch, "--serve", tmp_path / "s", "--", "bin/absent"):
        out, err, status = call(tmp_path / "s")
        assert (out, status, b"bin/absent: not found" in err) == (b"", 127, True)


def test_a_command_that_ignores_its_input_still_answers(launch: Path, tmp_path: Path):
    with started(launch, "--serve", tmp_path / "s", "--", "echo", "done"), dial(tmp_path / "s") as conn:
        document = b"x" * 2_000_000
        with ThreadPoolExecutor() as pool:
            pool.submit(lambda: conn.sendall(struct.pack("<I", len(document)) + document)).exception()
            assert answers(conn) == (b"done\n", b"", 0)


ESCAPEE = """
import os, subprocess, sys, time
near = subprocess.Popen(["sleep", "600"])
far = subprocess.Popen(["sleep", "600"], start_new_session=True)
os.write(1, f"{os.getpid()} {near.pid} {far.pid}\\n".encode())  # in one piece, whatever PYTHONUNBUFFERED says
if len(sys.argv) > 1: time.sleep(600)
"""


def test_a_client_that_hangs_up_takes_the_whole_tree_with_it(launch: Path, tmp_path: Path):
    with started(launch, "--serve", tmp_path / "s", "--", sys.executable, "-c", ESCAPEE, "stay"):
        with dial(tmp_path / "s") as conn:
            conn.sendall(struct.pack("<I", 0))
            head = conn.recv(999)
        assert all(dies(int(pid)) for pid in head[5:].split())


def test_nothing_that_the_command_left_behind_outlives_its_call(launch: Path, tmp_path: Path):
    with started(launch, "--serve", tmp_path / "s", "--", sys.executable, "-c", ESCAPEE):
        out, _, status = call(tmp_path / "s")
        assert status == 0
        assert all(dies(int(pid)) for pid in out.split())


def test_a_torrent_is_held_back_by_a_client_that_does_not_read(launch: Path, tmp_path: Path):
    with started(launch, "--serve", tmp_path / "s", "--", "sh", "-c", "echo $$; exec cat /dev/zero") as server:
        with dial(tmp_path / "s") as conn:
            conn.sendall(struct.pack("<I", 0))
            child = int(conn.recv(999)[5:].split()[0].strip(b"\0"))
            time.sleep(0.2)
            written = [int(line.split()[1]) for line in Path(f"/proc/{child}/io").read_text().splitlines()[1:2]]
            assert written[0] < 2_000_000
        assert dies(child)
        assert server.poll() is None


@pytest.mark.parametrize("rude", [b"", b"\x01", struct.pack("<I", 2**31), struct.pack("<I", 100) + b"half"])
def test_a_rude_client_disturbs_nobody(launch: Path, tmp_path: Path, rude: bytes):
    with started(launch, "--serve", tmp_path / "s", "--", "cat"):
        for _ in range(70):
            with dial(tmp_path / "s") as conn:
                conn.sendall(rude)
        assert call(tmp_path / "s", b"still here") == (b"still here", b"", 0)


def test_too_long_a_document_is_refused_in_words(launch: Path, tmp_path: Path):
    with started(launch, "--serve", tmp_path / "s", "--", "cat"), dial(tmp_path / "s") as conn:
        conn.sendall(struct.pack("<I", 8 * 1024 * 1024 + 1))
        _, err, status = answers(conn)
        assert (status, b"at most 8388608" in err) == (64, True)


def test_sixty_four_run_at_once_and_the_next_one_waits(launch: Path, tmp_path: Path):
    with started(launch, "--serve", tmp_path / "s", "--", "cat"):
        conns = [dial(tmp_path / "s") for _ in range(64)]
        for conn in conns:
            conn.sendall(struct.pack("<I", 2) + b"a")
        late = dial(tmp_path / "s")
        late.sendall(struct.pack("<I", 4) + b"late")
        late.settimeout(0.2)
        with pytest.raises(TimeoutError):
            late.recv(1)
        late.settimeout(10)
        for conn in conns:
            conn.sendall(b"b")
            assert answers(conn) == (b"ab", b"", 0)
            conn.close()
        assert answers(late) == (b"late", b"", 0)
        late.close()


def test_a_client_may_close_its_sending_half(launch: Path, tmp_path: Path):
    with (
        started(launch, "--serve", tmp_path / "s", "--", "sh", "-c", "cat; sleep 0.1; echo end"),
        dial(tmp_path / "s") as conn,
    ):
        conn.sendall(struct.pack("<I", 2) + b"in")
        conn.shutdown(socket.SHUT_WR)
        assert answers(conn) == (b"inend\n", b"", 0)


def test_sigterm_kills_what_runs_and_leaves_with_zero(launch: Path, tmp_path: Path):
    with started(launch, "--serve", tmp_path / "s", "--", sys.executable, "-c", ESCAPEE, "stay") as server:
        with dial(tmp_path / "s") as conn:
            conn.sendall(struct.pack("<I", 0))
            pids = [int(pid) for pid in conn.recv(999)[5:].split()]
            server.terminate()
            assert server.wait(5) == 0
        assert all(dies(pid) for pid in pids)
        assert not (tmp_path / "s").exists()


def test_as_process_one_it_reaps_orphans_and_obeys_sigterm(launch: Path, tmp_path: Path):
    if os.geteuid() != 0:
        pytest.fail("this test makes a pid namespace: run it as root, as e2e/test does")
    argv = ["unshare", "--pid", "--fork", "--kill-child", launch, "--serve", tmp_path / "s", "--"]
    with started(*argv, "sh", "-c", "(setsid sleep 0.05 &) ; echo ok") as outer:
        for _ in range(20):
            assert call(tmp_path / "s") == (b"ok\n", b"", 0)
        inner = int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()[0])
        time.sleep(0.1)
        assert Path(f"/proc/{inner}/task/{inner}/children").read_text().split() == []
        os.kill(inner, 15)
        assert outer.wait(5) == 0


def test_a_client_that_talks_without_end_is_heard_until_it_hangs_up_and_then_the_command_is_killed(
    launch: Path, tmp_path: Path
):
    with started(launch, "--serve", tmp_path / "s", "--", "sh", "-c", "echo $$; exec cat"):
        with dial(tmp_path / "s") as conn:
            conn.sendall(b"\xff\xff\xff\xff")
            pid = int(frame(conn))
            for word in (b"one\n", b"two\n"):
                conn.sendall(word)
                assert frame(conn) == word
            big = os.urandom(9_000_000)  # more than one document may have
            with ThreadPoolExecutor() as pool:
                sent = pool.submit(conn.sendall, big)
                heard = b""
                while len(heard) < len(big):
                    heard += frame(conn)
                sent.result()
            assert heard == big
            assert alive(pid)
        assert dies(pid)


def frame(conn: socket.socket) -> bytes:
    kind, size = struct.unpack("<cI", exactly(conn, 5))
    assert kind == b"o"
    return exactly(conn, size)
