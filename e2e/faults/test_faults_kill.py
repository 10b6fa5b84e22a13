"""kill -9 at random points of creations and deletions: nothing lost, nothing doubled, nothing left behind.

A few rounds by default; AION_KILL_ROUNDS and AION_KILL_AGENTS make it as long as it is worth to somebody.
"""

import os
import random
import statistics
import time

import pytest

from faulty import agent

ROUNDS = int(os.environ.get("AION_KILL_ROUNDS", "5"))
AGENTS = int(os.environ.get("AION_KILL_AGENTS", "24"))  # made in each round, and of those that live half deleted
SETTLES_S = 40 + AGENTS / 2  # an Agent is 3 writes of 200 a second: thirty times that

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(30 + ROUNDS * SETTLES_S)]


@pytest.mark.parametrize("seed", [1])
def test_kill_minus_nine_at_random_points_loses_nothing_and_leaves_no_orphan(world, team, recovered, seed):
    dice = random.Random(seed)
    rounds, alive, born, died = [], set(), 0, 0
    run = world.controller()
    for round_ in range(ROUNDS):
        fresh = [f"a{born + n}" for n in range(AGENTS)]
        born += AGENTS
        doomed = dice.sample(sorted(alive), len(alive) // 2)
        died += len(doomed)
        acts = [("create", name) for name in fresh] + [("delete", name) for name in doomed]
        acts += [("edit", name) for name in sorted(alive - set(doomed))[:4]]
        dice.shuffle(acts)
        fatal = dice.randrange(len(acts))
        for n, (act, name) in enumerate(acts):
            if act == "create":
                world.create(agent(team, name))
                alive.add(name)
            elif act == "delete":
                assert world.delete(team, "agents", name) == 200
                alive.discard(name)
            else:
                world.merge(team, "agents", name, {"spec": {"version": f"1.0.{round_ + 1}"}})
            if n == fatal:
                time.sleep(dice.uniform(0, 0.2))
                run.kill()
        run = world.controller(ready=False)
        rounds.append(world.settle(team, within=SETTLES_S))
        assert {each["metadata"]["name"] for each in world.items(team, "agents")} == alive
    said = f"{ROUNDS} kills over {born} creations and {died} deletions: 0 lost, 0 orphans; a round settled"
    recovered(f"{said} at p50 after {statistics.median(rounds):.1f} s, at worst", max(rounds))
    for name in alive:
        world.delete(team, "agents", name)
    world.until(
        lambda: not world.items(team, "pods") and not world.items(team, "serviceaccounts", "aion.os/agent"),
        what="no child after the last Agent",
        within=SETTLES_S,
    )
