"""An agent that is process 1 of its container ends when it is told to."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys, time
from aion_sdk.termination import obey_sigterm
{before}
try:
    print(obey_sigterm({pid}), flush=True)
    time.sleep(20)
finally:
    print("tidied", flush=True)
"""


def ended(pid: str, before: str = "") -> tuple[int, list[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(pid=pid, before=before)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline().strip()
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=10)
    return process.returncode, [first, *rest.split()]


def test_process_one_leaves_by_system_exit_so_that_its_finally_clauses_run():
    assert ended("1") == (143, ["True", "tidied"])


def test_any_other_process_is_left_to_the_systems_own_way():
    assert ended("4711") == (-signal.SIGTERM, ["False"])


def test_an_agents_own_handler_is_never_replaced():
    own = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))"
    assert ended("1", before=own) == (7, ["False", "tidied"])


@pytest.mark.parametrize("name", ["Agent", "AsyncAgent"])
def test_from_env_sees_to_it(name: str):
    program = (
        "import os, signal; os.getpid = lambda: 1\n"
        f"from aion_sdk import {name}\n"
        f"{name}.from_env({{'AION_AGENT_ID': 'agent://t/a', 'AION_KERNEL_URL': 'unix:///run/x'}})\n"
        "print(callable(signal.getsignal(signal.SIGTERM)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.strip() == "True"
