"""Metrics, spans, logs and the audit journal, by the names that dashboards rely on.

`logs` JSON lines · `metrics` Prometheus · `spans` the sampled `kernel.syscall` span, `otlp` its exporter · `journal` the
file of audit records · `termination` the last sentence of a process. Never decides anything, and never stands in the way of a call.
"""
