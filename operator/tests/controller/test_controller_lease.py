"""Who leads: by tables, and by any interleaving of candidates over one Lease."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aion.controller import errors, lease
from aion.controller.election import Election, Term, identity
from aion.controller.lease import Record, Sight, Verdict

AT = datetime(2026, 1, 1, tzinfo=UTC)


def record(holder="other", *, renewed="r1", duration_s=15.0, transitions=3):
    return Record(holder, duration_s, acquired="a", renewed=renewed, transitions=transitions, version="7")


def judged(seen, *, age=0.0, leading=False):
    return lease.judge("me", Sight(seen, since=100.0), leading=leading, now=100.0 + age)


@pytest.mark.parametrize(
    ("seen", "age", "leading", "verdict"),
    [
        (None, 0, False, Verdict.TAKE),
        (record(""), 0, False, Verdict.TAKE),
        (record("me"), 0, False, Verdict.TAKE),
        (record(), 14.9, False, Verdict.WAIT),
        (record(), 15.0, False, Verdict.TAKE),
        (record(duration_s=60), 15.0, False, Verdict.WAIT),
        (record("me"), 99, True, Verdict.RENEW),
        (record(), 0, True, Verdict.LOST),
        (record(""), 0, True, Verdict.LOST),
        (None, 0, True, Verdict.LOST),
    ],
)
def test_what_is_seen_decides(seen, age, leading, verdict):
    assert judged(seen, age=age, leading=leading) is verdict


def test_a_lease_ages_by_our_clock_alone_whatever_its_own_times_say():
    first = lease.look(None, record(renewed="1970-01-01T00:00:00Z"), now=50)
    same = lease.look(first, record(renewed="1970-01-01T00:00:00Z"), now=60)
    renewed = lease.look(same, record(renewed="1969-01-01T00:00:00Z"), now=61)
    assert (first.since, same.since, renewed.since) == (50, 50, 61)


def test_taking_counts_a_transition_and_renewing_does_not():
    taken = lease.held("me", record(), namespace="n", at=AT)["spec"]
    assert (taken["holderIdentity"], taken["leaseTransitions"]) == ("me", 4)
    assert taken["acquireTime"] == taken["renewTime"] == "2026-01-01T00:00:00.000000Z"
    kept = lease.held("me", record("me"), namespace="n", at=AT)["spec"]
    assert (kept["acquireTime"], kept["leaseTransitions"]) == ("a", 3)
    first = lease.held("me", None, namespace="n", at=AT)
    assert first["spec"]["leaseTransitions"] == 0
    assert "resourceVersion" not in first["metadata"]


def test_a_released_lease_is_held_by_nobody_and_keeps_its_count():
    left = lease.read(lease.released(record("me"), namespace="n", at=AT))
    assert (left.holder, left.transitions, left.version) == ("", 3, "7")


def test_a_lease_that_says_nothing_is_held_by_nobody():
    assert lease.read({"metadata": {}}).holder == ""


class OneLease:
    """The API server's side: one object under compare-and-swap. `cut` answers nobody."""

    def __init__(self):
        self.document = None
        self.version = 0
        self.cut = False

    def _reached(self):
        if self.cut:
            raise errors.Unreachable("no route", code=0)

    async def read(self, resource, *, namespace, name):
        self._reached()
        if self.document is None:
            raise errors.NotFound("no such lease", code=404)
        return self.document

    async def put(self, document):
        self._reached()
        expected = document["metadata"].get("resourceVersion")
        current = self.document["metadata"]["resourceVersion"] if self.document else None
        if expected and current is None:
            raise errors.NotFound("no such lease", code=404)
        if expected != current:
            raise errors.Conflict("the object has been modified", code=409)
        self.version += 1
        self.document = {**document, "metadata": {**document["metadata"], "resourceVersion": str(self.version)}}
        return self.document

    @property
    def holder(self):
        return self.document["spec"]["holderIdentity"]


class Candidate:
    """One process with a clock of its own, offset from the true time; a stopped one does nothing."""

    def __init__(self, server, name, time, *, offset=0.0):
        def clock():
            return time[0] + offset

        self.term = Term(clock=clock)
        self.name = name
        self.leads = False
        self.stopped = False
        self.election = Election(server, namespace="n", me=name, term=self.term, clock=clock, today=lambda: AT)

    async def step(self):
        if self.stopped:
            return
        if self.leads and not self.term.runs():
            self.leads = False  # the process ends
        elif self.leads:
            await self.election._attempt(leading=True)
            self.leads = self.election._judged(leading=True) is Verdict.RENEW
            if not self.leads:
                self.term.end()
        else:
            self.leads = await self.election._attempt(leading=False)


steps = st.lists(
    st.tuples(st.sampled_from(["a", "b", "a", "b", "c", "stop-a", "go-a", "leave-a", "cut", "mend", "delete"]),
              st.sampled_from([0.0, 0.5, 2.0, 4.0, 6.0])),
    max_size=60,
)  # fmt: skip


@given(steps)
@settings(max_examples=400, deadline=None)
def test_two_never_may_write_at_once_whatever_stops_is_cut_off_or_is_released(story):
    asyncio.run(_play(story))


async def _play(story):
    server, time = OneLease(), [0.0]
    all_of_them = {n: Candidate(server, n, time, offset=o) for n, o in (("a", 0.0), ("b", 5e6), ("c", -300.0))}
    for act, passes in story:
        time[0] += passes
        verb, _, who = act.rpartition("-")
        if who in all_of_them:
            each = all_of_them[who]
            if verb == "":
                await each.step()
            elif verb == "leave":
                await each.election.leave()
                each.leads = False
            else:
                each.stopped = verb == "stop"
        elif act == "delete":
            # The one act that can make two: only while the holder still has a term. Whoever deletes a Lease asks for that.
            if not any(each.term.runs() for each in all_of_them.values()):
                server.document = None
        else:
            server.cut = act == "cut"
        assert sum(each.term.runs() for each in all_of_them.values()) <= 1, (act, time)


async def test_whoever_is_robbed_ends_its_term_and_says_who_holds_it_now(monkeypatch):
    monkeypatch.setattr(lease, "RETRY_S", 0.01)
    server = OneLease()
    term = Term()
    election = Election(server, namespace="n", me="me", term=term)
    await election.win()
    assert term.runs()
    stolen = lease.held("thief", lease.read(server.document), namespace="n", at=AT)
    await server.put(stolen)
    assert await election.keep() == "held by thief now"
    assert not term.runs()
    assert server.holder == "thief"


async def test_a_holder_that_is_cut_off_gives_up_when_its_term_ends_and_not_before(monkeypatch):
    monkeypatch.setattr(lease, "RETRY_S", 0.02)
    monkeypatch.setattr(lease, "RENEW_WITHIN_S", 0.3)
    server, term = OneLease(), Term()
    election = Election(server, namespace="n", me="me", term=term)
    await election.win()
    server.cut = True
    keeping = asyncio.create_task(election.keep())
    await asyncio.sleep(0.2)
    assert not keeping.done()
    assert "no route" in await asyncio.wait_for(keeping, 1)


async def test_a_deleted_lease_is_lost(monkeypatch):
    monkeypatch.setattr(lease, "RETRY_S", 0.01)
    server = OneLease()
    election = Election(server, namespace="n", me="me", term=Term())
    await election.win()
    server.document = None
    assert await election.keep() == "the Lease was deleted"


async def test_who_leaves_is_followed_at_once(monkeypatch):
    monkeypatch.setattr(lease, "LOOK_S", 0.01)
    server = OneLease()
    first = Election(server, namespace="n", me="first", term=Term())
    second = Election(server, namespace="n", me="second", term=Term())
    await first.win()
    waiting = asyncio.create_task(second.win())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert second.trouble is None
    await first.leave()
    await asyncio.wait_for(waiting, 1)
    assert server.holder == "second"


async def test_a_standby_that_cannot_see_the_lease_says_why():
    server = OneLease()
    server.cut = True
    election = Election(server, namespace="n", me="me", term=Term())
    assert not await election._attempt(leading=False)
    assert "no route" in election.trouble


def test_no_two_processes_have_one_name():
    assert len({identity() for _ in range(100)}) == 100
