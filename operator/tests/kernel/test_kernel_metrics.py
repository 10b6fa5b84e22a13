"""The kernel's page of metrics, by the contract's names."""

from prometheus_client import CollectorRegistry

from aion.kernel import metrics
from aion.telemetry.metrics import page


def lines(registry):
    return [line for line in page(registry).decode().splitlines() if line.startswith("aion_")]


def test_heartbeats_stand_under_both_of_the_contracts_names():
    registry = CollectorRegistry()
    counted = metrics.KernelMetrics(registry)
    for _ in range(3):
        counted.heartbeat("team", "a")
    assert 'aion_agent_heartbeats{agent="a",tenant="team"} 3.0' in lines(registry)
    assert 'aion_agent_heartbeats_total{agent="a",tenant="team"} 3.0' in lines(registry)


def test_an_agent_that_is_gone_or_long_silent_has_no_series():
    registry, now = CollectorRegistry(), {"s": 0.0}
    counted = metrics.KernelMetrics(registry, clock=lambda: now["s"])
    for agent in ("deleted", "silent", "lively"):
        counted.heartbeat("team", agent)
    counted.forget("team", "deleted")
    counted.forget("team", "never seen")
    now["s"] = metrics.SILENT_S - 1
    counted.heartbeat("team", "lively")
    now["s"] = metrics.SILENT_S + 1
    assert [line for line in lines(registry) if line.startswith("aion_agent_heartbeats{")] == [
        'aion_agent_heartbeats{agent="lively",tenant="team"} 2.0'
    ]


def test_a_caller_that_makes_up_agents_cannot_grow_the_page_without_end(monkeypatch):
    monkeypatch.setattr(metrics, "AGENTS", 10)
    registry = CollectorRegistry()
    counted = metrics.KernelMetrics(registry)
    for n in range(50):
        counted.heartbeat("team", f"a{n}")
    assert len([line for line in lines(registry) if line.startswith("aion_agent_heartbeats{")]) == 10


def test_one_policy_is_shown_and_it_is_the_one_in_force():
    registry = CollectorRegistry()
    counted = metrics.KernelMetrics(registry)
    counted.policy(1, "aa")
    counted.policy(2, "bb")
    assert [line for line in lines(registry) if "policy" in line] == ['aion_policy_info{digest="bb",revision="2"} 1.0']
