"""`python -m aion.controller`: the operator process, until SIGTERM.

It stands apart because it alone assembles. Everything it remembers is rebuilt by the first lists after a start, so that kill -9 at any moment loses
nothing. Where the watch ends by itself the process ends too: a fresh start is the only state that is known to be good.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Mapping

import uvloop

from aion.controller import health, watch
from aion.controller.apply import Applier
from aion.controller.feed import Feed
from aion.controller.kube import Kube
from aion.controller.policy_pointer import BundleFile
from aion.controller.queue import Queue
from aion.controller.reconcile import Reconciler
from aion.controller.settings import Settings
from aion.controller.sources import Sources
from aion.controller.store import Store
from aion.controller.sweep import Sweep
from aion.controller.views import Key
from aion.controller.workers import Workers
from aion.sandbox import profiles
from aion.telemetry import logs

DRAIN_S = 5.0
WATCH_ENDS_S = 8.0  # with DRAIN_S below the Pod's 20 s

_log = logs.get("controller")


def installed() -> Mapping[str, str]:
    """The seccomp profiles of this release, by name: their sha256."""
    return {name: profile.sha256 for name, profile in profiles.catalog().items()}


async def run(settings: Settings) -> int:
    """Assemble, run, stop; answers the exit code: 0 after a signal, 1 where the watch or the workers ended by themselves."""
    store, queue = Store(pointer=settings.pointer), Queue[Key]()
    cluster = await Kube.connect()
    feed = Feed(store, queue)
    sweep = Sweep(cluster, store, feed, every_s=settings.sweep_s)
    reconciler = Reconciler(
        store,
        Applier(cluster, memory=feed),
        files=Sources(cluster),
        settings=settings,
        profiles=installed(),
        source=BundleFile(settings.policy_file),
    )
    workers = Workers(queue, reconciler, count=settings.workers, resync_s=settings.resync_s)
    pulse = health.Pulse()
    started, halt, told_to_stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await feed.synced.wait()
        _log.info("controller.synced", objects=len(store))
        await workers.run()

    async def sweeping() -> None:
        await feed.synced.wait()
        await sweep.run()

    async def obey() -> None:
        # kopf takes the signals when it starts, and would kill our tasks as its own; so we take them after it has.
        await started.wait()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
        await told_to_stop.wait()

    tasks = {
        name: asyncio.create_task(coroutine, name=name)
        for name, coroutine in (("workers", work()), ("sweep", sweeping()), ("pulse", pulse.run()), ("signals", obey()))
    }
    # The last to be made: whatever task is younger than kopf is cancelled by it when it ends.
    tasks["watch"] = asyncio.create_task(watch.run(feed, ready=started, stop=halt), name="watch")
    alive = {name: health.running(task) for name, task in tasks.items() if name != "signals"} | {"loop": pulse.check}
    ready = {"cluster": lambda: None if feed.synced.is_set() else "the first lists are not in yet"}
    pages = await health.serve(settings.port, alive=alive, ready=ready)
    _log.info("controller.started", port=settings.port, workers=settings.workers)
    try:
        ended, _ = await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        asked = tasks["signals"] in ended
        for task in ended - {tasks["signals"]}:
            _log.error("controller.broken", task=task.get_name(), reason=repr(task.exception() or "it ended"))
        await pages.cleanup()
        await workers.drain(DRAIN_S)
        halt.set()
        await asyncio.wait({tasks["watch"]}, timeout=WATCH_ENDS_S)
    finally:
        for task in tasks.values():
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        queue.close()
        await cluster.close()
    _log.info("controller.stopped", asked=asked)
    return 0 if asked else 1


def main() -> None:
    """Read the environment and run."""
    settings = Settings()
    logs.configure(level=settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(run(settings)))


if __name__ == "__main__":
    main()
