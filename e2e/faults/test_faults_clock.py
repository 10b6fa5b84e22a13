"""The wall clock jumps by an hour, forth, back and behind, while the monotonic one goes on: nobody else leads, nothing is written, times stay sane.

The clock of each controller is the real one of its process, turned by libfaketime (Debian: faketime). TLS is left to the proxy, whose clock is right: a
certificate that was made a minute ago is rightly refused by a clock that is an hour behind.
"""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from faulty import LEASE, agent, tool
from stormy import Storm

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(90)]

LIBRARIES = Path("/usr/lib")
AN_HOUR = timedelta(hours=1)
NEAR = timedelta(seconds=60)


class Clock:
    """The wall clock of one controller; `turn` moves it while the controller runs."""

    def __init__(self, folder, name):
        found = sorted(LIBRARIES.glob("*/faketime/libfaketimeMT.so.1"))
        if not found:
            pytest.fail(f"no libfaketimeMT under {LIBRARIES}: run `apt-get install faketime`", pytrace=False)
        self._offset = folder / f"{name}.offset"
        self.turn(timedelta())
        self.environment = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def turn(self, by):
        self._offset.write_text(f"{int(by.total_seconds()):+d}\n")


def stamps(document):
    """When each of its conditions became what it is."""
    return {each["type"]: each["lastTransitionTime"] for each in document["status"]["conditions"]}


def told_about(moments, expected):
    found = [datetime.fromisoformat(each) for each in moments]
    assert found, "no times at all"
    assert all(abs(each - expected) < NEAR for each in found), (moments, expected)


def test_a_clock_that_jumps_makes_no_second_leader_no_write_and_no_strange_time(world, team, recovered):
    with Storm(world.server, world.kubeconfig, world.folder) as storm:
        clocks = [Clock(world.folder, name) for name in ("first", "second")]
        first = world.controller(kubeconfig=storm.kubeconfig, **clocks[0].environment)
        second = world.controller(kubeconfig=storm.kubeconfig, vacant=False, **clocks[1].environment)
        for n in range(10):
            world.create(agent(team, f"a{n}"))
        world.create(tool(team))
        world.settle(team)
        time.sleep(2)
        held, quiet = world.must("GET", LEASE)["spec"], first.writes()
        before = {each["metadata"]["name"]: each["status"] for each in world.items(team, "agents")}
        worst = 0.0
        for n, (leader, standby) in enumerate([(AN_HOUR, timedelta()), (-AN_HOUR, AN_HOUR), (timedelta(), -AN_HOUR)]):
            clocks[0].turn(leader)
            clocks[1].turn(standby)
            time.sleep(3.5)  # longer than a renewal takes to come
            now = world.must("GET", LEASE)["spec"]
            told_about([now["renewTime"]], datetime.now(UTC) + leader)  # the jump is real
            assert (now["holderIdentity"], now["leaseTransitions"]) == (
                held["holderIdentity"],
                held["leaseTransitions"],
            )
            assert (first.page("/readyz")[1], second.page("/readyz")[1]) == ("ok: leader\n", "ok: standby\n")
            assert first.page("/healthz")[0] == second.page("/healthz")[0] == 200
            assert first.writes() == quiet, "nothing has happened"
            began = time.monotonic()
            world.create(agent(team, f"later{n}"))
            world.settle(team)
            worst = max(worst, time.monotonic() - began)
            told_about(stamps(world.one(team, "agents", f"later{n}")).values(), datetime.now(UTC) + leader)
            time.sleep(1)
            quiet = first.writes()
        kept = {name: world.one(team, "agents", name)["status"] for name in before}
        assert kept == before, "what did not change keeps its times"
        clocks[0].turn(timedelta())
        time.sleep(1.5)
        world.merge(team, "agents", "later2", {"spec": {"operatingMode": "Suspended"}})
        world.until(lambda: world.one(team, "agents", "later2")["status"].get("podName") is None, what="the suspension")
        changed = stamps(world.one(team, "agents", "later2"))
        told_about([changed["Suspended"]], datetime.now(UTC))
        recovered("three jumps led through by one; an Agent made after each, the slowest", worst)
