"""The policy pointer: moved by compare-and-swap, upwards only, and read by every Agent."""

import json

import pytest
from controller_world import BUNDLE, HELD, NOW, World, agent, node, the_policy
from hypothesis import given, settings
from hypothesis import strategies as st

from aion.api import policy
from aion.controller import errors, policy_pointer, views
from aion.controller.binding import Held
from aion.controller.policy_pointer import BundleFile, Unusable
from aion.controller.store import Observed

POLICY = {"of": "Policy", "name": "aion", "namespace": "aion-system"}


def held(**fields):
    bundle = policy.Bundle.from_document({"schema": "aion.policy.v1", **fields})
    return Held(bundle, policy.digest(bundle))


def active(world):
    return world.object("Policy", "aion", "aion-system").get("status", {}).get("active")


async def test_the_first_bundle_is_revision_one_named_by_its_digest():
    world = World()
    await world.applies(the_policy())
    assert active(world) == {
        "revision": 1,
        "digest": HELD.digest,
        "configMap": f"aion-policy-{HELD.digest[:12]}",
        "since": "2026-03-01T12:00:00Z",
    }
    assert world.told("Ready", **POLICY)["status"] == "True"


async def test_the_same_bundle_again_moves_nothing():
    world = World()
    await world.applies(the_policy())
    before = active(world)
    world.cluster.writes.clear()
    await world.later(900)
    assert (active(world), world.cluster.writes) == (before, [])


async def test_going_back_to_an_older_bundle_is_a_new_revision():
    world = World()
    await world.applies(the_policy())
    world.held = held(models={"allow_cloud": True})
    await world.later(60)
    world.held = HELD
    await world.later(60)
    assert (active(world)["revision"], active(world)["digest"]) == (3, HELD.digest)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_revisions_only_rise_whatever_is_installed_in_which_order(installs):
    bundles = [held(scheduler={"reserve": n}) for n in range(4)]
    pointer, revisions = None, []
    for at in installs:
        document = {**the_policy(), "status": {"active": pointer} if pointer else {}}
        document["metadata"] = {**document["metadata"], "uid": "u"}
        root = views.root(document)
        seen = Observed(root=root)
        plan = policy_pointer.plan(seen, source=bundles[at], pointer=root.key, now=NOW)
        before, pointer = pointer, plan.facts["active"]
        assert pointer["digest"] == bundles[at].digest
        revisions.append(pointer["revision"])
        assert (before == pointer) == (before is not None and before["digest"] == bundles[at].digest)
    assert revisions == sorted(revisions)


async def test_a_pointer_that_moved_under_us_is_looked_at_again_and_not_overwritten():
    world = World()
    seen = []

    def somebody_is_faster(write, document):
        if write.kind == "Policy" and not seen:
            seen.append(document["metadata"]["resourceVersion"])
            other = {"revision": 7, "digest": "f" * 64, "configMap": "aion-policy-ffffffffffff"}
            world.cluster.reported("Policy", "aion-system", "aion", {"active": other})

    world.cluster.fault = somebody_is_faster
    await world.applies(the_policy())
    assert active(world)["revision"] in (7, 8)
    await world.later(1)
    assert (active(world)["revision"], active(world)["digest"]) == (8, HELD.digest)


async def test_a_broken_bundle_keeps_the_pointer_and_stalls_the_policy():
    world = World()
    await world.applies(the_policy())
    world.held = Unusable("policy.json: budgets.usd: got something else. Correct the chart's `policy` value.")
    await world.later(60)
    assert active(world)["digest"] == HELD.digest
    assert world.told("Stalled", **POLICY)["reason"] == "InvalidSpec"
    assert "Revision 1 stays in force" in world.told("Ready", **POLICY)["message"]


async def test_a_policy_of_another_name_changes_nothing_and_says_so():
    world = World()
    await world.applies(the_policy("mine"))
    other = {**POLICY, "name": "mine"}
    assert world.told("Ready", **other)["reason"] == "NotActive"
    assert "active" not in world.object("Policy", "mine", "aion-system")["status"]


async def test_agents_say_that_no_policy_binds_them_until_one_does_and_run_meanwhile():
    world = World()
    await world.applies(node(), agent(capabilities={"network": True, "syscalls": ["tool.invoke"]}))
    assert len(world.pods()) == 1
    assert (world.told("PolicyBound")["status"], world.told("PolicyBound")["reason"]) == ("False", "NotActive")
    await world.applies(the_policy())
    assert world.told("PolicyBound")["status"] == "True"
    status = world.object()["status"]
    assert status["effectivePolicy"] == {"revision": 1, "digest": HELD.digest}
    assert status["effectiveCapabilities"] == ["network", "tool.invoke"]


async def test_what_policy_takes_away_is_named_with_its_rule():
    world = World()
    await world.applies(node(), the_policy(), agent(capabilities={"gpu": True, "network": True}))
    assert "gpu" in BUNDLE.capabilities.deny
    assert "policy.capabilities.deny: gpu" in world.told("PolicyBound")["message"]
    assert "gpu" not in world.object()["status"]["effectiveCapabilities"]


async def test_a_moved_pointer_reaches_every_agent_and_restarts_none():
    world = World()
    await world.applies(the_policy())
    pod = await world.running_agent()
    await world.applies(agent("b"))
    world.held = held(models={"allow_cloud": True})
    world.queue.add(world.settings.pointer)
    await world.settle()
    for name in ("a", "b"):
        assert world.object(name=name)["status"]["effectivePolicy"]["revision"] == 2
    assert world.cluster.get("Pod", "team", pod["metadata"]["name"])["metadata"]["uid"] == pod["metadata"]["uid"]


async def test_a_deleted_policy_unbinds_every_agent():
    world = World()
    await world.applies(the_policy())
    await world.running_agent()
    world.cluster.deleted("Policy", "aion-system", "aion")
    await world.settle()
    assert world.told("PolicyBound")["status"] == "False"
    assert "effectivePolicy" not in world.object()["status"]
    assert world.told()["status"] == "True"


async def test_a_pointer_at_a_bundle_that_we_do_not_hold_is_unknown_to_agents():
    world = World()
    await world.applies(the_policy(), node(), agent())
    stored = {"revision": 9, "digest": "f" * 64, "configMap": "aion-policy-ffffffffffff"}
    world.cluster.fault = lambda write, _d: errors.of(500, "away") if write.kind == "Policy" else None
    world.cluster.reported("Policy", "aion-system", "aion", {"active": stored})
    await world.settle()
    assert world.told("PolicyBound")["status"] == "Unknown"
    assert "aion-policy-ffffffffffff" in world.told("PolicyBound")["message"]


def test_a_bundle_file_is_read_and_read_again_when_it_changes(tmp_path):
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(BUNDLE.document()))
    source = BundleFile(str(file))
    assert source().digest == HELD.digest
    assert source() is source()
    file.write_text('{"schema": "aion.policy.v1"}')
    assert source().digest != HELD.digest


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not json", "not JSON"),
        (b'{"schema": "aion.policy.v1", "budget": {}}', "budget"),
        (b'{"schema": "aion.policy.v9"}', "schema"),
        (b"[1]", "policy"),
        (b" " * (policy_pointer.MAX_BUNDLE + 1), "1048576 bytes"),
    ],
)
def test_a_bundle_that_cannot_be_used_says_what_is_wrong_with_it(tmp_path, content, said):
    file = tmp_path / "policy.json"
    file.write_bytes(content)
    unusable = BundleFile(str(file))()
    assert isinstance(unusable, Unusable)
    assert said in unusable.message


@pytest.mark.parametrize(("path", "said"), [("", "AION_POLICY_FILE"), ("/nowhere/policy.json", "No such file")])
def test_a_missing_bundle_says_where_it_was_looked_for(path, said):
    assert said in BundleFile(path)().message
