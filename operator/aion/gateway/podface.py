"""What the Pod's address serves: health, readiness, the agent's preStop and metrics, for kubelet and Prometheus.

Apart because this socket is reachable from the cluster's network: nothing here acts for the agent, and nothing here says
what the agent does. It must never serve a syscall, nor believe that who asks is the kubelet (`parking` does not).
"""

import json

from prometheus_client import CollectorRegistry

from aion.api import errors, syscall
from aion.gateway import asgi
from aion.gateway.admission import Admission
from aion.gateway.asgi import TEXT, Receive, Scope, Send
from aion.gateway.parking import Parking
from aion.telemetry import metrics


class PodFace:
    """The app of the Pod's address."""

    def __init__(self, admission: Admission, parking: Parking, registry: CollectorRegistry) -> None:
        self._admission = admission
        self._parking = parking
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
            case "/v1/park":
                await self._park(send)
            case "/metrics":
                page = metrics.page(self._registry)
                await asgi.answer(send, 200, page, kind=(b"content-type", metrics.CONTENT_TYPE))
            case _:
                error = errors.NoSuchSyscall(
                    "expected /healthz, /readyz, /v1/park or /metrics: syscalls are made inside the Pod"
                )
                await asgi.answer(send, error.http_status, syscall.failure(error, syscall.Usage(), ""))

    async def _park(self, send: Send) -> None:
        """Answer when the agent may be stopped. The kubelet goes on whatever the answer is."""
        under_way = await self._parking.park()
        if under_way is None:
            error = errors.Conflict(
                "nobody stops this Pod: only the kubelet parks an agent, by stopping both containers"
            )
            await asgi.answer(send, error.http_status, syscall.failure(error, syscall.Usage(), ""))
            return
        body = json.dumps({"parked": True, "under_way": under_way}).encode()
        await asgi.answer(send, 200, body + b"\n")
