"""`python -m aion.controller`: the operator process, until SIGTERM. It stands by until it holds the Lease, and leads from then on.

It stands apart because it alone speaks to the system: signals, pages, exit. Everything a leader remembers is rebuilt by the first lists, so that kill -9 at
any moment loses nothing. A Lease that is lost ends the process on the spot, without a drain: somebody else leads, and watches, memory and queue
die together. On SIGTERM the Lease is left only after the last write, and before anything slow, so that the next one takes over within 3 s.
"""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from typing import Any, NoReturn

import uvloop

from aion.controller import health, metrics
from aion.controller.budget import Budget
from aion.controller.election import Election, Term, identity
from aion.controller.kube import Kube
from aion.controller.leading import Leading, installed
from aion.controller.settings import Settings
from aion.telemetry import logs

GARBAGE = 20_000
"""New objects between two collections. A look makes hundreds that reference counts free; of a cycle there is little."""

_log = logs.get("controller")


async def run(settings: Settings) -> int:
    """Stand by, lead, stop; answers the exit code: 0 after a signal, 1 where a part of the leader ended by itself."""
    term, pulse, stop = Term(), health.Pulse(), asyncio.Event()
    budget = Budget(per_s=settings.writes_per_s, burst=2 * settings.writes_per_s)
    cluster = await Kube.connect(budget=budget, may_write=term.runs)
    election = Election(cluster, namespace=settings.release_namespace, me=identity(), term=term)
    role = "standby"
    alive: dict[str, health.Check] = {"loop": pulse.check}
    ready: dict[str, health.Check] = {"lease": lambda: election.trouble}
    _obey(stop)
    metrics.LEADING.set(0)
    pages = await health.serve(settings.port, alive=alive, ready=ready, role=lambda: f"ok: {role}")
    _log.info("controller.started", port=settings.port, workers=settings.workers)
    try:
        async with _running(pulse.run()), _running(stop.wait()) as stopping:
            if not settings.leader_election:
                term.extend(float("inf"))
            elif not await _first(election.win(), stopping):
                await election.leave()
                return 0
            role = "leader"
            metrics.LEADING.set(1)
            leading = Leading(cluster, settings, profiles=installed())
            holding = _hold(election) if settings.leader_election else stop.wait()
            async with _running(holding):
                leading.start()
                ready.clear()
                ready.update(leading.ready)
                alive.update(leading.alive)
                broken = await _first(leading.broken(), stopping)
                await pages.cleanup()
                await leading.drain()
            await election.leave()
            await leading.stop()
            return 1 if broken else 0
    finally:
        await pages.cleanup()
        await cluster.close()
        _log.info("controller.stopped", role=role, asked=stop.is_set())


def _obey(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


@contextlib.asynccontextmanager
async def _running(work: Coroutine[Any, Any, Any]) -> AsyncIterator["asyncio.Task[Any]"]:
    """The work as a task that ends with the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _first(work: Coroutine[Any, Any, Any], other: "asyncio.Task[Any]") -> bool:
    """Whether the work ended before the other; raises what it died of, and cancels it where it was not the first."""
    async with _running(work) as task:
        await asyncio.wait({task, other}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        return task.done()


async def _hold(election: Election) -> None:
    """Keep the Lease; where it is lost, end this process at once: nothing of it may go on, not even its way of stopping."""
    why = await election.keep()
    _log.error("controller.lease_lost", reason=why)
    _end(1)


def _end(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> NoReturn:
    """Read the environment and run."""
    settings = Settings()
    logs.configure(level=settings.log_level)
    gc.freeze()  # what was imported stays: the collector need not walk it again
    gc.set_threshold(GARBAGE, 20, 50)
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    status = runner.run(run(settings))
    # uvloop fails now and then to close a loop while TLS connections still say goodbye: all that matters is done.
    _end(status)


if __name__ == "__main__":
    main()
