"""Metrics, spans, logs and the audit journal, by the names that dashboards rely on.

Never decides anything, and never stands in the way of a call.
"""
