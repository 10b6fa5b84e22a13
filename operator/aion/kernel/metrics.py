"""What the kernel counts beside its syscalls, by the contract's names.

It stands apart so that the one metric that carries an agent's name is visible as the exception it is: its series is
removed when the agent is, or when it has been silent for long. It must never grow a label that a caller chooses.
"""

import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SILENT_S = 600.0
"""An agent that moved to another replica, or registered from outside and left, is nobody's to forget but time's."""

AGENTS = 20_000
"""Series kept at most: some 200 bytes each, and as many as one kernel will ever have agents."""


class Heartbeats(Collector):
    """Heartbeats by agent, under both of the contract's names.

    A collector of its own because the client library takes `x` and `x_total` for one name; on the page they are two.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heard: dict[tuple[str, str], tuple[int, float]] = {}

    def add(self, tenant: str, agent: str) -> None:
        """Count one heartbeat."""
        count, _ = self._heard.pop((tenant, agent), (0, 0.0))
        self._heard[tenant, agent] = (count + 1, self._clock())
        if len(self._heard) > AGENTS:
            del self._heard[next(iter(self._heard))]

    def forget(self, tenant: str, agent: str) -> None:
        """Drop the series of an agent."""
        self._heard.pop((tenant, agent), None)

    def collect(self) -> Iterator[Metric]:
        """Yield both families, without those who have been silent."""
        oldest = self._clock() - SILENT_S
        self._heard = {who: heard for who, heard in self._heard.items() if heard[1] > oldest}
        labels = ["tenant", "agent"]
        gauge = GaugeMetricFamily(
            "aion_agent_heartbeats", "Heartbeats of an agent since this replica knows it.", labels=labels
        )
        total = CounterMetricFamily("aion_agent_heartbeats_total", "The same as a counter.", labels=labels)
        for who, (count, _) in self._heard.items():
            gauge.add_metric(who, count)
            total.add_metric(who, count)
        yield gauge
        yield total

    def describe(self) -> list[Metric]:
        """Reserve no name."""
        return []


class KernelMetrics:
    """Heartbeats, channels, events that slow readers lost, and refused callers."""

    def __init__(self, registry: CollectorRegistry, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = registry
        heartbeats = Heartbeats(clock)
        registry.register(heartbeats)
        self.heartbeat = heartbeats.add
        self.forget = heartbeats.forget
        self.channels = Gauge("aion_kernel_channels", "Gateways connected to this replica.", registry=registry)
        dropped = Counter(
            "aion_events_dropped_total", "Events that a slow sink lost, and was told so.", ["sink"], registry=registry
        )
        self.dropped_by_stream = dropped.labels("stream").inc
        self.refused = Counter(
            "aion_kernel_refused_total", "Requests refused before they were served.", ["code"], registry=registry
        )
        self.legacy_macs = Counter(
            "aion_kernel_legacy_hmac_total",
            "Requests signed over the body alone, which can be replayed: clients that want an update.",
            registry=registry,
        )
        self.audit_records = Counter(
            "aion_kernel_audit_records_total", "Audit records kept, each once.", registry=registry
        )
        self.audit_breaks = Counter(
            "aion_kernel_audit_breaks_total",
            "Audit chains that do not hold: records changed, missing, or by a number that is taken.",
            ["what"],
            registry=registry,
        )
        self._policy = Gauge("aion_policy_info", "The policy in force.", ["revision", "digest"], registry=registry)

    def policy(self, revision: int, digest: str) -> None:
        """Show the policy in force, and no other."""
        self._policy.clear()
        self._policy.labels(str(revision), digest).set(1)
