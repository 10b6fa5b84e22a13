"""/healthz, /readyz and /metrics, and what they judge by.

Apart because liveness must not depend on anything that a cluster can do: it asks whether this process works, and a process whose event loop stood still,
or whose watch or workers ended, is one to restart. Readiness asks whether it has seen the cluster. It must never serve anything else: it listens without
authentication.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import prometheus_client
from aiohttp import web

from aion.controller import metrics

TICK_S = 1.0
STILL_S = 30.0
"""The longest that the loop may have stood still between two ticks before a restart is the better remedy."""

Check = Callable[[], str | None]
"""What is wrong, as a sentence; None where nothing is."""


class Pulse:
    """The event loop's heartbeat."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            self._last = self._clock()
            await asyncio.sleep(TICK_S)
            metrics.LOOP_LAG.set(max(0.0, self._clock() - self._last - TICK_S))

    def check(self) -> str | None:
        """Whether the loop ticks."""
        still = self._clock() - self._last
        return f"the event loop has not turned for {still:.0f} s" if still > STILL_S else None


def running(task: "asyncio.Task[None]") -> Check:
    """Check that the task has not ended."""
    return lambda: f"{task.get_name()} has ended" if task.done() else None


async def serve(
    port: int, *, alive: Mapping[str, Check], ready: Mapping[str, Check], role: Callable[[], str] = lambda: "ok"
) -> web.AppRunner:
    """Serve on all addresses; answers the runner, whose `cleanup` ends it. The checks are asked anew each time; `role` is what a ready one says."""

    def page(good: Callable[[], str], *groups: Mapping[str, Check]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_request: web.Request) -> web.Response:
            checks = [(name, check) for group in groups for name, check in group.items()]
            problems = [f"{name}: {problem}" for name, check in checks if (problem := check())]
            return web.Response(status=503 if problems else 200, text="\n".join(problems or [good()]) + "\n")

        return answer

    async def scrape(_request: web.Request) -> web.Response:
        return web.Response(
            body=prometheus_client.generate_latest(), headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.router.add_get("/healthz", page(lambda: "ok", alive))
    app.router.add_get("/readyz", page(role, alive, ready))
    app.router.add_get("/metrics", scrape)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner
