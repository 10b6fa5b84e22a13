"""The node process: a pass every few seconds, and a small server that tells how the last one went.

/healthz: the loop turns. /readyz: disk and label are as they should be, else 503 with the reasons. /metrics: Prometheus.
It must never serve anything else; it listens on the node's Pod network without authentication.
"""

import json
import logging
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import prometheus_client
import structlog

from aion.sandbox import labels, profiles, settings
from aion.sandbox.node import Node

PASSES = prometheus_client.Counter("aion_sandbox_passes_total", "Passes over this node's profiles", ["result"])
WRITTEN = prometheus_client.Counter(
    "aion_sandbox_profiles_written_total", "Profile files that had to be written", ["profile"]
)
READY = prometheus_client.Gauge("aion_sandbox_node_ready", "1 where every profile is on disk and labelled")


class Watch:
    """The loop's state, read by the server's threads."""

    def __init__(self, node: Node, *, period_s: float) -> None:
        self.node = node
        self.period_s = period_s
        self.last_pass = time.monotonic()
        self.stop = threading.Event()
        self.log = structlog.get_logger("aion.sandbox")

    def run(self) -> None:
        """Pass after pass until `stop`; says what changed, and says a problem once until it changes."""
        said: tuple[str, ...] = ()
        while not self.stop.is_set():
            sight = self.node.keep()
            self.last_pass = time.monotonic()
            PASSES.labels("ok" if sight.ready else "problem").inc()
            READY.set(sight.ready)
            for name in sight.written:
                WRITTEN.labels(name).inc()
            if sight.written or sight.relabelled:
                self.log.info("profiles.kept", written=sight.written, relabelled=sight.relabelled)
            if sight.problems != said:
                said = sight.problems
                self.log.warning("profiles.problem", problems=said) if said else self.log.info("profiles.healed")
            self.stop.wait(self.period_s)

    def page(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body for a path."""
        if path == "/healthz":
            late = time.monotonic() - self.last_pass > 6 * self.period_s + 2 * labels.TIMEOUT_S
            return (503, "text/plain", b"the loop stands still\n") if late else (200, "text/plain", b"ok\n")
        if path == "/readyz":
            sight = self.node.sight
            body = {"ready": sight.ready, "installed": sight.installed, "problems": sight.problems}
            return 200 if sight.ready else 503, "application/json", json.dumps(body).encode()
        if path == "/metrics":
            return 200, prometheus_client.CONTENT_TYPE_LATEST, prometheus_client.generate_latest()
        return 404, "text/plain", b"not found: /healthz, /readyz and /metrics are here\n"


def server(watch: Watch, *, port: int) -> ThreadingHTTPServer:
    """The three pages on all addresses, not yet serving."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            status, kind, body = watch.page(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (as inherited)
            """Probes are not news."""

    return ThreadingHTTPServer(("", port), Handler)


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    told = settings.NodeSettings()
    node = Node(
        profiles.catalog(),
        told.kubelet_root,
        labels.NodeLabels(told.node_name, told.api_server, told.service_account),
    )
    watch = Watch(node, period_s=told.period_s)
    signal.signal(signal.SIGTERM, lambda *_: watch.stop.set())
    signal.signal(signal.SIGINT, lambda *_: watch.stop.set())
    pages = server(watch, port=told.port)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    watch.run()
    pages.shutdown()


if __name__ == "__main__":
    main()
