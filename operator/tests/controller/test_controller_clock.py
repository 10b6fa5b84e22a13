"""A clock that runs an hour behind the API server's: nothing is put off by an hour that would be looked at within seconds."""

from datetime import UTC, datetime

from controller_world import World, agent, condition

from aion.controller import outcome, plan_agent
from aion.controller.views import Key

BEHIND = datetime(2025, 12, 31, 23, tzinfo=UTC)  # the cluster in memory makes everything on New Year's Day
BORN = datetime(2026, 1, 1, tzinfo=UTC)
KEY = Key("Agent", "team", "a")


async def looked_at_again(**reported):
    world = World()
    await world.applies(agent())
    world.now = BEHIND
    world.cluster.reported("Pod", "team", world.pod()["metadata"]["name"], **reported)
    ended = await world.reconcile(KEY)
    assert isinstance(ended, outcome.After)
    return ended.seconds


async def test_a_failed_pod_is_looked_at_again_after_its_pause():
    assert await looked_at_again(status={"phase": "Failed"}) == plan_agent.FIRST_PAUSE_S


async def test_a_pod_that_starts_is_looked_at_again_after_our_patience():
    placed = condition("PodScheduled", "True", since=BORN)
    assert await looked_at_again(status={"conditions": [placed]}, nodeName="n1") <= 60
