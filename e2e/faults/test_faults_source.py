"""Files as large as the API takes: the Pod is made, they are told apart by their digest, and nothing of them stays in the controller."""

import os
import re
import time
from pathlib import Path

import pytest

from faulty import agent

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(90)]

LARGE = 1_000_000  # of the 1 MiB that all files of a ConfigMap may have together
MANY = 40
ROOM_KIB = MANY * LARGE // 1024 // 2
"""Room for the bodies that eight workers have on their way, and what the allocator keeps of them; if all stayed it would be twice that."""


def files(name, byte):
    text = byte * LARGE
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"main.py": text}}


def resident_kib(process):
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())[1])


def source_of(world, namespace, name):
    """The digest that the one Pod of an Agent was made with."""
    pods = [
        each
        for each in world.items(namespace, "pods", f"aion.os/agent={name}")
        if "deletionTimestamp" not in each["metadata"]
    ]
    return pods[0]["metadata"]["annotations"]["aion.os/source-digest"] if len(pods) == 1 else None


def test_a_megabyte_of_files_makes_a_pod_by_its_digest_and_does_not_stay_in_memory(world, team, recovered):
    run = world.controller()
    maps = world.path(team, "configmaps")
    world.must("POST", maps, files("warm", "w"))
    world.create(agent(team, "warm", source={"configMap": "warm"}))
    world.settle(team)
    before = resident_kib(run.process)
    for n in range(MANY):
        world.must("POST", maps, files(f"src{n}", chr(ord("A") + n)))
    began = time.monotonic()
    for n in range(MANY):
        world.create(agent(team, f"a{n}", source={"configMap": f"src{n}"}))
    world.settle(team)
    took = time.monotonic() - began
    digests = {source_of(world, team, f"a{n}") for n in range(MANY)}
    assert len(digests) == MANY
    assert None not in digests
    grown = resident_kib(run.process) - before
    recovered(f"{MANY} Agents with 1 MB of files each, in {grown} KiB more of memory,", took)
    assert grown < ROOM_KIB, f"{grown} KiB more, of {MANY * LARGE // 1024} KiB of files"
    # Other files, another Pod; the Agent is changed too, so that nobody waits for the next look at its files.
    time.sleep(1)  # for as long as a digest counts as just read
    world.must("PUT", world.path(team, "configmaps", "src0"), files("src0", "z"))
    old = source_of(world, team, "a0")
    began = time.monotonic()
    world.merge(team, "agents", "a0", {"metadata": {"annotations": {"touched": os.urandom(4).hex()}}})
    world.until(lambda: source_of(world, team, "a0") not in (None, old), what="a Pod with the other files")
    recovered("other files, another Pod", time.monotonic() - began)
