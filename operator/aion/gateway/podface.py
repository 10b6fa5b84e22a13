"""What the Pod's address serves: health, readiness and metrics, for kubelet and Prometheus.

Apart because this socket is reachable from the cluster's network: nothing here acts for the agent, and nothing here says
what the agent does. It must never serve a syscall.
"""

from prometheus_client import CollectorRegistry

from aion.api import errors, syscall
from aion.gateway import asgi
from aion.gateway.admission import Admission
from aion.gateway.asgi import TEXT, Receive, Scope, Send
from aion.telemetry import metrics


class PodFace:
    """The app of the Pod's address."""

    def __init__(self, admission: Admission, registry: CollectorRegistry) -> None:
        self._admission = admission
        self._registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's own
        """Serve one request."""
        match scope["path"]:
            case "/healthz":
                await asgi.answer(send, 200, b"ok\n", kind=TEXT)
            case "/readyz":
                ready = await self._admission.ready()
                said = "ok" if ready else self._admission.why_not()
                await asgi.answer(send, 200 if ready else 503, said.encode() + b"\n", kind=TEXT)
            case "/metrics":
                page = metrics.page(self._registry)
                await asgi.answer(send, 200, page, kind=(b"content-type", metrics.CONTENT_TYPE))
            case _:
                error = errors.NoSuchSyscall("expected /healthz, /readyz or /metrics: syscalls are made inside the Pod")
                await asgi.answer(send, error.http_status, syscall.failure(error, syscall.Usage(), ""))
