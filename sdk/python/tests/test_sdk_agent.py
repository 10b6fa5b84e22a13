"""The plain client alone: threads, forks, and what is left behind."""

import gc
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sdk_server import ME, Server, ok

from aion_sdk import Agent


def test_threads_share_an_agent_and_get_their_own_connections(gw: Path):
    with (
        Server([lambda conn, request: conn.sendall(ok(request.document["params"]))], gw) as server,
        Agent(ME, server.url) as agent,
        ThreadPoolExecutor(8) as pool,
    ):
        answers = list(pool.map(lambda n: agent.syscall("tool.invoke", {"n": n})["n"], range(200)))
        assert answers == list(range(200)), "an answer went to another thread's call"
        assert 1 <= server.connections <= 8
        assert sorted(r.document["context"]["seq"] for r in server.seen) == list(range(1, 201))


def test_closing_while_calls_are_under_way_disturbs_none(gw: Path):
    def slow(conn, _request):
        time.sleep(0.05)
        conn.sendall(ok({"n": 1}))

    with Server([slow], gw) as server, Agent(ME, server.url) as agent, ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(agent.syscall, "tool.invoke") for _ in range(4)]
        time.sleep(0.02)
        agent.close()
        assert [answer.result() for answer in answers] == [{"n": 1}] * 4
        assert agent.syscall("tool.invoke") == {"n": 1}


def test_an_agent_that_is_dropped_closes_its_connections(gw: Path):
    gone = threading.Event()

    def answer_and_watch(conn, _request):
        conn.sendall(ok({}))
        conn.recv(1)
        gone.set()

    with Server([answer_and_watch], gw) as server:
        Agent(ME, server.url).syscall("tool.invoke")
        gc.collect()
        assert gone.wait(2)


FORKS = """
import os, sys, threading, time
from aion_sdk import Agent
agent = Agent("agent://tenant-a/researcher", sys.argv[1])
agent.syscall("tool.invoke", {"from": "parent"})
held = agent._pool._lock  # as it is when another thread is in the middle of taking a connection
held.acquire()
child = os.fork()
if child == 0:
    agent.syscall("tool.invoke", {"from": "child"}, timeout=5)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
held.release()
agent.syscall("tool.invoke", {"from": "parent"})
"""


def test_a_forked_child_speaks_on_its_own_connection_and_leaves_the_parents_alone(gw: Path):
    with Server([ok({})], gw) as server:
        done = subprocess.run(
            [sys.executable, "-c", FORKS, server.url], capture_output=True, text=True, timeout=20, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert [request.document["params"]["from"] for request in server.seen] == ["parent", "child", "parent"]
        assert server.connections == 2
