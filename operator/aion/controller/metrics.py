"""What the controller counts, under the names that dashboards for Kubernetes controllers already use.

It stands apart so that the queue, the workers and the client share one registry and none of them owns it.
No label ever carries an object's name, a uid or a raw error: cardinality stays at kinds x outcomes.
"""

from prometheus_client import Counter, Gauge, Histogram

RECONCILES = Counter("aion_reconcile", "Reconciliations by outcome.", ["kind", "result"])
RECONCILE_ERRORS = Counter("aion_reconcile_errors", "Reconciliations that failed unforeseen.", ["kind", "reason"])
RECONCILE_SECONDS = Histogram("aion_reconcile_duration_seconds", "Time of one reconciliation.", ["kind"])
RENEWALS = Counter("aion_lease_renewals", "Attempts to take or renew the Lease, by result.", ["result"])
LEADING = Gauge("aion_leader", "1 in the process that leads, 0 in one that stands by.")
API_WRITES = Counter("aion_api_writes", "Writes sent to the API server.", ["kind", "subresource", "verb", "code"])
SWEEPS = Counter("aion_sweeps", "LIST sweeps that compare the store with the API server.", ["reason"])
HEALED = Counter("aion_sweep_healed", "Objects whose change or deletion the watch had lost.", ["kind"])

EVENTS = Counter("aion_watch_events", "Events that a watch told.", ["kind"])
LAST_EVENT_AGE = Gauge("aion_watch_last_event_age_seconds", "How long ago a watch last told something.", ["kind"])
PASSED_OVER = Counter("aion_watch_passed_over", "Objects that could not be read.", ["kind"])
LOOP_LAG = Gauge("aion_loop_lag_seconds", "How late the event loop came to its last tick.")

QUEUE_DEPTH = Gauge("workqueue_depth", "Keys waiting.", ["name"])
QUEUE_ADDS = Counter("workqueue_adds", "Keys added.", ["name"])
QUEUE_RETRIES = Counter("workqueue_retries", "Keys added again after a failure.", ["name"])
QUEUE_WAIT = Histogram("workqueue_queue_duration_seconds", "Time a key waited.", ["name"])
QUEUE_WORKERS = Gauge("workqueue_active_workers", "Keys being worked on.", ["name"])
