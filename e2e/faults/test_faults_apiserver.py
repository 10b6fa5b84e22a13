"""The API server goes, forgets, refuses: what a watch loses, what a client is told, and how soon all is well again."""

import itertools
import signal
import time

import pytest

from faulty import agent
from stormy import Storm

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(120)]

NO_COMPARISON = """
from aion.controller import listing
from aion.controller.__main__ import main
listing.missing = lambda known, listed: []
main()
"""

SOON_SUSPICIOUS = """
from aion.controller import watches
from aion.controller.__main__ import main
watches.SILENT_S = 3.0
main()
"""


def test_a_short_absence_of_the_api_server_is_outlived_and_a_long_one_ends_the_term(world, team, recovered):
    run = world.controller()
    world.create(agent(team))
    world.settle(team)
    began = time.monotonic()
    world.restart(kill=True)
    away = time.monotonic() - began
    if away > 7:  # a renewal may have been 3 s old; and then a kubelet starts it again, as is done here
        run.process.wait(10)
        run = world.controller()
    began = time.monotonic()
    world.create(agent(team, "b"))
    world.delete(team, "pods", world.one(team, "agents")["status"]["podName"])
    world.settle(team, within=60)
    recovered(f"{away:.0f} s away; a new Agent and a lost Pod seen to", time.monotonic() - began)
    assert run.process.poll() is None


def deleted_in_the_gap(world, team, **more):
    """A Pod that is deleted while the controller is cut off, and whose deletion etcd has forgotten when it comes back.

    Stopped and killed, not ended: an old watch that ends in good order tells the deletion first.
    """
    run = world.controller(AION_LEADER_ELECTION="false", **more)
    world.create(agent(team))
    world.create(agent(team, "survivor"))
    world.settle(team)
    pod = world.one(team, "agents")["status"]["podName"]
    run.process.send_signal(signal.SIGSTOP)
    world.restart(kill=True)
    assert world.delete(team, "pods", pod) == 200
    world.until(lambda: world.one(team, "pods", pod) is None, what="the deletion")
    world.compact()
    world.restart(kill=True)
    run.process.send_signal(signal.SIGCONT)
    return run


def test_a_deletion_that_the_watch_has_lost_stays_lost_where_a_list_is_not_compared(world, team):
    run = deleted_in_the_gap(world, team, script=NO_COMPARISON)
    world.create(agent(team, "later"))  # the watches are back when this one is served
    world.until(
        lambda: world.one(team, "pods") is None and served(world, team, "later"), what="the watches' return", within=60
    )
    time.sleep(3)
    assert world.settled(team) == "lost: pods of ['a']", (
        "if this heals, the server tells deletions now, and the comparison may go"
    )
    assert run.process.poll() is None


def test_a_deletion_that_the_watch_has_lost_is_found_by_the_list_it_begins_anew_with(world, team, recovered):
    run = deleted_in_the_gap(world, team)
    began = time.monotonic()
    world.settle(team, within=60)
    recovered("the lost deletion found", time.monotonic() - began)
    assert '"sweep.healed"' in run.log.read_text()


def served(world, team, name):
    found = world.one(team, "agents", name)
    return bool(found and (found.get("status") or {}).get("podName"))


def test_a_storm_of_429_is_waited_out_and_the_servers_word_is_obeyed(world, team, recovered):
    with Storm(world.server, world.kubeconfig, world.folder) as storm:
        run = world.controller(kubeconfig=storm.kubeconfig)
        storm.refuse(status=429, retry_after=2)
        for n in range(20):
            world.create(agent(team, f"a{n}"))
        world.until(lambda: storm.refused, what="the first refusal")
        time.sleep(5)
        # Every worker may have had one request under way when the word came; then nobody asks before it is over.
        waves = storm.waves(gap_s=1.0)
        assert all(len(wave) <= 8 for wave in waves), [len(wave) for wave in waves]
        assert all(later[0] - former[-1] >= 1.8 for former, later in itertools.pairwise(waves))
        storm.end()
        began = time.monotonic()
        world.settle(team)
        recovered(f"20 Agents after {len(storm.refused)} refusals", time.monotonic() - began)
        assert run.process.poll() is None
        assert "reconcile.bug" not in run.log.read_text()


def test_every_second_answer_an_error_delays_and_loses_nothing(world, team, recovered):
    with Storm(world.server, world.kubeconfig, world.folder) as storm:
        run = world.controller(kubeconfig=storm.kubeconfig)
        storm.refuse(status=500, share=0.5)
        began = time.monotonic()
        for n in range(20):
            world.create(agent(team, f"a{n}"))
        world.settle(team)
        recovered(f"20 Agents against {len(storm.refused)} errors", time.monotonic() - began)
        assert run.process.poll() is None


def test_watches_that_fall_silent_are_stood_in_for_by_the_sweep_and_end_the_process_by_its_liveness(
    world, team, recovered
):
    with Storm(world.server, world.kubeconfig, world.folder) as storm:
        run = world.controller(kubeconfig=storm.kubeconfig, script=SOON_SUSPICIOUS, AION_SWEEP_S="2")
        assert run.page("/healthz") == (200, "ok\n")
        storm.deaf = True
        began = time.monotonic()
        world.create(agent(team))
        world.settle(team)
        recovered("an Agent served without any watch", time.monotonic() - began)
        world.until(lambda: run.page("/healthz")[0] == 503, what="the liveness probe's failure", within=10)
        recovered("the silence noticed", time.monotonic() - began)
        assert "has not come back by the watch" in run.page("/healthz")[1]
