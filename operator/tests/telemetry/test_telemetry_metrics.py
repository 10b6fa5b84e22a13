"""The metrics page: the contract's names and no others, as Prometheus reads them."""

from prometheus_client.parser import text_string_to_metric_families

from aion.api import syscall
from aion.telemetry import metrics


def scraped(*observed: tuple[str, str, float]) -> dict[str, dict[tuple, float]]:
    """A page as Prometheus sees it: sample name -> labels -> value."""
    registry = metrics.registry()
    counting = metrics.SyscallMetrics(registry, syscall.NAMES)
    for name, decision, ms in observed:
        counting.observe(name, decision, latency_ms=ms)
    found: dict[str, dict[tuple, float]] = {}
    for family in text_string_to_metric_families(metrics.page(registry).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_the_names_are_the_contracts_and_there_are_no_others():
    names = set(scraped(("tool.invoke", "allow", 3.0)))
    assert {name for name in names if not name.startswith("process_")} == {
        "aion_kernel_syscalls_total",
        *(f"aion_kernel_syscall_latency_ms_{kind}" for kind in ("bucket", "count", "sum")),
        *(f"aion_kernel_syscall_duration_seconds_{kind}" for kind in ("bucket", "count", "sum")),
    }
    assert "process_resident_memory_bytes" in names


def test_the_types_are_what_queries_expect():
    registry = metrics.registry()
    metrics.SyscallMetrics(registry, syscall.NAMES).observe("net.fetch", "deny", latency_ms=1)
    page = metrics.page(registry).decode()
    assert "# TYPE aion_kernel_syscalls_total counter" in page
    assert "# TYPE aion_kernel_syscall_latency_ms histogram" in page
    assert "# TYPE aion_kernel_syscall_duration_seconds histogram" in page
    assert metrics.CONTENT_TYPE.startswith(b"text/plain; version=0.0.4")


def test_the_twin_in_seconds_says_the_same_in_another_unit():
    page = scraped(("tool.invoke", "allow", 3.0), ("tool.invoke", "allow", 700.0), ("net.fetch", "error", 90_000.0))
    milliseconds, seconds = (
        page["aion_kernel_syscall_latency_ms_bucket"],
        page["aion_kernel_syscall_duration_seconds_bucket"],
    )
    converted = {
        (("le", le if le == "+Inf" else repr(float(le) / 1000)), name): value
        for ((_, le), name), value in milliseconds.items()
    }
    assert seconds == converted
    invoked = (("syscall", "tool.invoke"),)
    assert page["aion_kernel_syscall_duration_seconds_sum"][invoked] == 0.703
    assert page["aion_kernel_syscall_latency_ms_sum"][invoked] == 703
    for kind in ("duration_seconds", "latency_ms"):
        assert page[f"aion_kernel_syscall_{kind}_count"] == {invoked: 2, (("syscall", "net.fetch"),): 1}


def test_every_decision_on_every_syscall_starts_at_zero_and_what_no_caller_may_name_is_unknown():
    total = scraped(("tool.invoke", "allow", 1.0), ("x" * 100, "error", 1.0), ("", "error", 1.0))[
        "aion_kernel_syscalls_total"
    ]
    assert {dict(labels)["syscall"] for labels in total} == {*syscall.NAMES, "unknown"}
    assert {dict(labels)["decision"] for labels in total} == {"allow", "deny", "error"}
    assert {labels: value for labels, value in total.items() if value} == {
        (("decision", "allow"), ("syscall", "tool.invoke")): 1,
        (("decision", "error"), ("syscall", "unknown")): 2,
    }


def test_a_syscall_that_nobody_made_costs_no_histogram():
    page = scraped(("tool.invoke", "allow", 1.0))
    assert {dict(labels)["syscall"] for labels in page["aion_kernel_syscall_latency_ms_bucket"]} == {"tool.invoke"}
