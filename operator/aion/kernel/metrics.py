"""What the kernel counts beside its syscalls, by the contract's names.

It stands apart so that the one metric that carries an agent's name is visible as the exception it is: its series is
removed when the agent is. It must never grow a label that a caller chooses.
"""

import contextlib

from prometheus_client import CollectorRegistry, Counter, Gauge


class KernelMetrics:
    """Heartbeats, channels, events that slow readers lost, and refused callers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        beats = ["tenant", "agent"]
        self._heartbeats = Gauge(
            "aion_agent_heartbeats", "Heartbeats of an agent since this replica knows it.", beats, registry=registry
        )
        self._heartbeats_total = Counter(
            "aion_agent_heartbeats_total", "The same as a counter.", beats, registry=registry
        )
        self.channels = Gauge("aion_kernel_channels", "Gateways connected to this replica.", registry=registry)
        dropped = Counter(
            "aion_events_dropped_total", "Events that a slow sink lost, and was told so.", ["sink"], registry=registry
        )
        self.dropped_by_stream = dropped.labels("stream").inc
        self.refused = Counter(
            "aion_kernel_refused_total", "Requests refused before they were served.", ["code"], registry=registry
        )
        self.audit_records = Counter(
            "aion_kernel_audit_records_total", "Audit records kept, each once.", registry=registry
        )
        self._policy = Gauge("aion_policy_info", "The policy in force.", ["revision", "digest"], registry=registry)

    def heartbeat(self, tenant: str, agent: str) -> None:
        """Count one heartbeat."""
        self._heartbeats.labels(tenant, agent).inc()
        self._heartbeats_total.labels(tenant, agent).inc()

    def forget(self, tenant: str, agent: str) -> None:
        """Drop the series of an agent that is gone."""
        for metric in (self._heartbeats, self._heartbeats_total):
            with contextlib.suppress(KeyError):  # a gateway that never had a grant has no series
                metric.remove(tenant, agent)

    def policy(self, revision: int, digest: str) -> None:
        """Show the policy in force, and no other."""
        self._policy.clear()
        self._policy.labels(str(revision), digest).set(1)
