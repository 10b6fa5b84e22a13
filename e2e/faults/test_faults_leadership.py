"""Who leads when leaders leave, die, stand still or are robbed; and what two do that should be one."""

import signal
import time

import pytest

from faulty import LEASE, agent

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(90)]


def role(controller):
    return controller.page("/readyz")[1].strip()


def test_a_clean_stop_hands_over_within_three_seconds(world, team, recovered):
    first = world.controller()
    second = world.controller(vacant=False)
    assert (role(first), role(second)) == ("ok: leader", "ok: standby")
    assert second.page("/healthz") == (200, "ok\n")
    world.create(agent(team))
    world.settle(team)
    assert second.writes() == {}
    first.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    world.create(agent(team, "b"))
    world.settle(team)
    assert recovered("served by the next", time.monotonic() - began) < 3
    assert first.process.wait(10) == 0
    assert role(second) == "ok: leader"


def test_one_that_stood_still_wakes_up_robbed_and_one_that_is_killed_is_followed_within_twenty_seconds(
    world, team, recovered
):
    first = world.controller()
    second = world.controller(vacant=False)
    time.sleep(2.5)  # a renewal, so that the Lease is as fresh as it is in ordinary life
    first.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    world.create(agent(team))
    world.settle(team)
    assert recovered("a frozen leader replaced", time.monotonic() - began) < 20

    world.merge(team, "agents", "a", {"spec": {"priority": 9}})
    world.settle(team)
    before = world.one(team, "agents")["metadata"]["resourceVersion"]
    first.process.send_signal(signal.SIGCONT)
    assert first.process.wait(5) == 1
    assert '"controller.lease_lost"' in first.log.read_text()
    assert world.one(team, "agents")["metadata"]["resourceVersion"] == before, "what wakes up late writes nothing"

    third = world.controller(vacant=False)
    second.kill()
    began = time.monotonic()
    world.create(agent(team, "b"))
    world.settle(team)
    assert recovered("a killed leader replaced", time.monotonic() - began) < 20
    assert role(third) == "ok: leader"


def test_a_stolen_lease_ends_the_process_at_once(world, recovered):
    robbed = world.controller()
    began = time.monotonic()
    held = world.must("GET", LEASE)
    held["spec"]["holderIdentity"] = "thief"
    while world.ask("PUT", LEASE, held)[0] == 409:
        held = world.must("GET", LEASE)
        held["spec"]["holderIdentity"] = "thief"
    assert robbed.process.wait(10) == 1
    assert recovered("ended", time.monotonic() - began) < 4
    assert "held by thief now" in robbed.log.read_text()
    assert world.lease() == "thief"


def test_two_that_both_work_by_mistake_do_no_harm_and_come_to_rest(world, team, recovered):
    pair = [world.controller(AION_LEADER_ELECTION="false") for _ in range(2)]
    began = time.monotonic()
    for n in range(20):
        world.create(agent(team, f"a{n}"))
    world.settle(team)
    recovered("20 Agents, once each", time.monotonic() - began)
    time.sleep(1)
    quiet = [each.writes() for each in pair]
    uids = {pod["metadata"]["uid"] for pod in world.items(team, "pods")}
    time.sleep(2)
    assert [each.writes() for each in pair] == quiet
    assert {pod["metadata"]["uid"] for pod in world.items(team, "pods")} == uids
