"""kill -9 at random points of creations and deletions: nothing lost, nothing doubled, nothing left behind."""

import random
import time

import pytest

from faulty import agent

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(90)]

ROUNDS = 5
AGENTS = 24


@pytest.mark.parametrize("seed", [1])
def test_kill_minus_nine_at_random_points_loses_nothing_and_leaves_no_orphan(world, team, recovered, seed):
    dice = random.Random(seed)
    worst, alive, born = 0.0, set(), 0
    run = world.controller()
    for _round in range(ROUNDS):
        fresh = [f"a{born + n}" for n in range(AGENTS)]
        born += AGENTS
        doomed = dice.sample(sorted(alive), len(alive) // 2)
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
                world.merge(team, "agents", name, {"spec": {"version": f"1.0.{_round + 1}"}})
            if n == fatal:
                time.sleep(dice.uniform(0, 0.2))
                run.kill()
        run = world.controller(ready=False)
        worst = max(worst, world.settle(team))
        assert {each["metadata"]["name"] for each in world.items(team, "agents")} == alive
    recovered(f"{ROUNDS} kills over {born} Agents, the slowest round settled", worst)
    for name in alive:
        world.delete(team, "agents", name)
    world.until(
        lambda: not world.items(team, "pods") and not world.items(team, "serviceaccounts", "aion.os/agent"),
        what="no child after the last Agent",
    )
