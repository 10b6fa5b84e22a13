"""What follows from a spec is worked out once, and never taken for that of another spec."""

from dataclasses import replace

from controller_world import HELD, NOW, PROFILES, World, agent, node, the_policy

from aion.api import granting
from aion.api.policy import Pointer
from aion.controller import accept, views
from aion.controller.accept import Refusal
from aion.controller.draft import FEW, Draft, Drafts, Variant
from aion.controller.settings import Settings
from aion.controller.views import Key

KEY = Key("Agent", "team", "a")
PLAIN = Variant("", 0)


def root(**spec):
    document = agent(**spec)
    return views.root({**document, "metadata": {**document["metadata"], "uid": "u", "generation": 1}})


def drafts():
    return Drafts(settings=Settings(), profiles=PROFILES)


def test_one_document_is_parsed_once_and_an_equal_one_of_another_object_again():
    made, one = drafts(), root()
    assert made.of(one) is made.of(replace(one, status={"podName": "x"}))
    assert made.of(one) is not made.of(root())


def test_another_spec_is_another_draft_and_what_is_gone_is_forgotten():
    made = drafts()
    first = made.of(root(priority=1))
    second = made.of(root(priority=9))
    assert first.look(PLAIN) != second.look(PLAIN)
    assert isinstance(made.of(root(entry="")), Refusal)
    made.forget(KEY)
    assert not made._made


def test_a_look_is_the_name_and_the_needs_of_the_pod_itself():
    draft = drafts().of(root())
    assert isinstance(draft, Draft)
    assert draft.look(PLAIN).mark.name == draft.pod(PLAIN)["metadata"]["name"]
    assert (
        draft.look(Variant("abc", 0)).mark.name
        == draft.pod(Variant("abc", 0))["metadata"]["name"]
        != draft.look(PLAIN).mark.name
    )
    assert draft.look(PLAIN) is draft.look(Variant("", 0))


def test_looks_stay_few_however_often_files_change():
    draft = drafts().of(root())
    for n in range(50):
        draft.look(Variant(f"d{n}", 0))
    assert len(draft._looks) <= FEW


def test_it_is_bound_anew_by_another_pointer_bundle_or_ceiling():
    draft = drafts().of(root(capabilities={"network": True}))
    pointer = Pointer(revision=1, digest=HELD.digest, config_map="c", since="2026-03-01T12:00:00Z")
    holder = views.root({**the_policy(), "metadata": {**the_policy()["metadata"], "uid": "p"}})
    held = replace(holder, status={"active": pointer.document()})
    unbound = draft.bound(holder=holder, held=HELD, ceiling=None, ceiling_of=granting.TENANTS)
    free = draft.bound(holder=held, held=HELD, ceiling=None, ceiling_of=granting.TENANTS)
    low = draft.bound(holder=held, held=HELD, ceiling=(), ceiling_of=granting.TENANTS)
    later = draft.bound(
        holder=replace(held, status={"active": replace_revision(pointer, 2)}),
        held=HELD,
        ceiling=(),
        ceiling_of=granting.TENANTS,
    )
    assert unbound.condition.status == "False"
    assert "network" in free.facts["effectiveCapabilities"]
    assert "network" not in low.facts["effectiveCapabilities"]
    assert later.facts["effectivePolicy"]["revision"] == 2
    assert draft.bound(holder=held, held=HELD, ceiling=None, ceiling_of=granting.TENANTS) == free


def replace_revision(pointer, revision):
    return {**pointer.document(), "revision": revision}


async def test_while_an_agent_comes_up_its_spec_is_parsed_once(monkeypatch):
    parsed, whole = [], accept.agent
    monkeypatch.setattr(accept, "agent", lambda *a, **k: parsed.append(1) or whole(*a, **k))
    world = World()
    await world.applies(node(), the_policy())
    await world.running_agent()
    await world.later(60)
    assert world.told()["status"] == "True"
    assert len(parsed) == 1
    assert world.now > NOW
