"""Whether a silent watch can be told from a silent cluster."""

import prometheus_client

from aion.controller.feed import Feed
from aion.controller.queue import Queue
from aion.controller.store import Store
from aion.controller.watches import SILENT_S, Answers, Watches


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def pod(version, name="p"):
    meta = {"name": name, "namespace": "n", "uid": f"u-{name}", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": []}}


def test_a_write_that_never_comes_back_means_that_the_watch_is_dead():
    clock = Clock()
    watches = Watches(clock=clock)
    watches.told(pod(5))
    watches.wrote(pod(6))
    clock.now += SILENT_S
    assert watches.check() is None
    clock.now += 1
    assert watches.check() == "Pod: what was written 180 s ago has not come back by the watch"


def test_an_idle_kind_is_never_suspected():
    clock = Clock()
    watches = Watches(clock=clock)
    watches.told(pod(5))
    clock.now += 1e6
    assert watches.check() is None


def test_a_write_that_changed_nothing_owes_no_event():
    clock = Clock()
    watches = Watches(clock=clock)
    watches.told(pod(5))
    watches.wrote(pod(5))
    clock.now += 1e6
    assert watches.check() is None


def test_a_slow_watch_that_still_tells_is_alive_and_one_kind_does_not_speak_for_another():
    clock = Clock()
    watches = Watches(clock=clock)
    watches.wrote(pod(9))
    watches.told({**pod(3), "kind": "Agent"})
    watches.told(pod(4, "old"))  # far behind, but alive
    clock.now += SILENT_S + 1
    assert watches.check() is None
    watches.wrote(pod(11))
    watches.told({**pod(12), "kind": "Agent"})
    clock.now += SILENT_S + 1
    assert "Pod" in watches.check()


def test_the_age_of_the_last_event_is_that_of_the_moment_of_the_scrape():
    clock = Clock()
    watches = Watches(clock=clock)
    watches.told(pod(5))
    clock.now += 42
    assert 'aion_watch_last_event_age_seconds{kind="Pod"} 42.0' in prometheus_client.generate_latest().decode()


def test_what_a_write_answers_is_remembered_and_owed():
    clock = Clock()
    watches, queue = Watches(clock=clock), Queue()
    answers = Answers(Feed(Store(), queue), watches)
    answers.answered(pod(7))
    clock.now += SILENT_S + 1
    assert watches.check() is not None
