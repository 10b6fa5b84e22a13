"""libaion-net.so by itself: the same program, by both libcs and under the sanitizers, and what the library must not be."""

import subprocess

import pytest

from tunnel_fixture import Sealed

PROMISES = 35


@pytest.mark.parametrize("by", ["net-check", "net-check-musl", "net-check-sanitized"])
def test_every_promise_holds_by_glibc_by_musl_and_under_the_sanitizers(sealed: Sealed, by: str):
    done = sealed.run(sealed.built / by, preload=by != "net-check-sanitized")
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.endswith(" ok")] == []
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(lines) == PROMISES


def test_the_library_is_bound_to_no_libc(sealed: Sealed):
    said = subprocess.run(
        ["readelf", "-dV", sealed.built / "libaion-net.so"], check=True, capture_output=True, text=True
    ).stdout
    assert "NEEDED" not in said
    assert "GLIBC" not in said


def test_nothing_but_the_functions_it_stands_for_can_be_seen_of_it(sealed: Sealed):
    argv = ["nm", "-D", "--defined-only", "-f", "posix", sealed.built / "libaion-net.so"]
    names = {
        line.split()[0] for line in subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()
    }
    assert {"connect", "socket", "getaddrinfo", "epoll_wait", "poll"} <= names
    assert not {"read", "write", "close", "dup", "fork"} & names
    assert not [name for name in names if name.startswith(("names_", "waiting_", "badge_", "ask_"))]


@pytest.mark.parametrize("preload", [True, False])
def test_a_static_program_is_refused_by_the_kernel_with_and_without_it(sealed: Sealed, preload: bool):
    done = sealed.run(sealed.built / "bare", preload=preload)
    assert done.stdout.splitlines() == [
        "inet Operation not permitted",
        "inet6 Operation not permitted",
        "truncated Operation not permitted",
        "io_uring Operation not permitted",
    ]


def test_without_the_library_there_is_no_way_out(sealed: Sealed):
    done = sealed.run("curl", "-sS", "-m", "5", "http://198.51.100.1/", preload=False)
    assert done.returncode != 0
    assert done.stdout == ""
