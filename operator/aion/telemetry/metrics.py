"""The metrics of syscalls, by the names that dashboards rely on.

Apart because gateway and kernel count alike. A syscall costs one histogram observation and one counter, both bound
beforehand, and the conventional twin in seconds is derived from the same buckets when somebody scrapes. There is a page
like this for every agent's Pod: counters begin at zero, as rates need it, but a histogram with its 40 series only at a
syscall's first use. Labels are a syscall of the contract (or `unknown`) and a decision: never an agent, a tenant or
anything that a caller chooses.
"""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

LATENCY_MS = "aion_kernel_syscall_latency_ms"
DURATION_SECONDS = "aion_kernel_syscall_duration_seconds"
SYSCALLS_TOTAL = "aion_kernel_syscalls_total"

BUCKETS_MS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000)
UNKNOWN = "unknown"
DECISIONS = ("allow", "deny", "error")
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class SyscallMetrics:
    """How many syscalls were decided how, and how long they took."""

    def __init__(self, registry: CollectorRegistry, names: Sequence[str]) -> None:
        self._latency = Histogram(
            LATENCY_MS,
            "Time from the request to its answer, in ms.",
            ["syscall"],
            buckets=BUCKETS_MS,
            registry=registry,
        )
        total = Counter(SYSCALLS_TOTAL, "Syscalls by what was decided.", ["syscall", "decision"], registry=registry)
        known = (*names, UNKNOWN)
        self._known = frozenset(known)
        self._latency_of: dict[str, Histogram] = {}
        self._total = {(name, decision): total.labels(name, decision) for name in known for decision in DECISIONS}
        registry.register(_InSeconds(self._latency))

    def observe(self, syscall: str, decision: str, *, latency_ms: float) -> None:
        """Count one syscall. A name that is not a syscall is counted as `unknown`."""
        latency = self._latency_of.get(syscall)
        if latency is None:
            syscall = syscall if syscall in self._known else UNKNOWN
            latency = self._latency_of[syscall] = self._latency.labels(syscall)
        latency.observe(latency_ms)
        self._total[syscall, decision].inc()


class _InSeconds(Collector):
    """The same histogram under its conventional name and unit, made at scrape time so that a call pays for one."""

    def __init__(self, latency: Histogram) -> None:
        self._latency = latency

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(
            DURATION_SECONDS, "Time from the request to its answer, in seconds.", labels=["syscall"]
        )
        for syscall, (buckets, total) in _by_syscall(self._latency.collect()).items():
            family.add_metric([syscall], buckets=buckets, sum_value=total / 1000)
        yield family

    def describe(self) -> Iterable[Metric]:
        return [HistogramMetricFamily(DURATION_SECONDS, "", labels=["syscall"])]


def _by_syscall(families: Iterable[Metric]) -> dict[str, tuple[list[tuple[str, float]], float]]:
    buckets: dict[str, list[tuple[str, float]]] = {}
    sums: dict[str, float] = {}
    for family in families:
        for sample in family.samples:
            syscall = sample.labels["syscall"]
            if sample.name.endswith("_bucket"):
                edge = sample.labels["le"]
                seconds = edge if edge == "+Inf" else repr(float(edge) / 1000)
                buckets.setdefault(syscall, []).append((seconds, sample.value))
            elif sample.name.endswith("_sum"):
                sums[syscall] = sample.value
    return {syscall: (edges, sums[syscall]) for syscall, edges in buckets.items()}


def registry() -> CollectorRegistry:
    """A registry of one process, with the process's own CPU, memory and file descriptors.

    No metric of this process shows when it was created: those are as many series again, by names that nobody asks for.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]
    made = CollectorRegistry()
    ProcessCollector(registry=made)
    return made


def page(of: CollectorRegistry) -> bytes:
    """The text of GET /metrics; its content type is CONTENT_TYPE."""
    return generate_latest(of)
