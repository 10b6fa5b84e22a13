"""`python -m aion.gateway`: the door of one agent, until the agent is gone.

It stands apart because it alone assembles: environment, sockets, door, router, channel. SIGTERM comes to both containers
at once, so the gateway first waits for the agent to end (its last syscalls are served), then sends what is left of the
audit, then goes. It must never start without its journal: what cannot be recorded may not be done.
"""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from pathlib import Path

import uvloop

from aion import __version__
from aion.api import auditchain, syscall
from aion.api import channel as frames
from aion.dialects.served import Served
from aion.gateway import listeners, settings
from aion.gateway.admission import Admission
from aion.gateway.agentface import AgentFace
from aion.gateway.channel import Channel
from aion.gateway.door import Door
from aion.gateway.keys import Keys
from aion.gateway.modelkeys import ModelKeys
from aion.gateway.parking import Parking
from aion.gateway.peers import Known
from aion.gateway.podface import PodFace
from aion.gateway.proxy.face import EgressFace
from aion.gateway.settings import Settings
from aion.serving.server import Server
from aion.syscalls.call import Caller
from aion.syscalls.model_generate import ModelGenerate
from aion.syscalls.net_fetch import NetFetch
from aion.syscalls.purse import Purse
from aion.syscalls.router import Router
from aion.syscalls.tool_invoke import ToolInvoke
from aion.syscalls.toolchannels import ToolChannels
from aion.telemetry import logs, metrics, spans, termination
from aion.telemetry.journal import Journal

DRAIN_S, CUT_S = 3.0, 1.0
"""The last audit, and the last answers: together with grace_s below the Pod's grace."""

YOUNG = 10_000
"""Objects in which the collector looks for cycles, some 2 MiB: a syscall leaves none, and at Python's 700 it pays 4 % for the search."""

_log = logs.get("gateway")


async def serve(given: Settings) -> None:
    """Serve until SIGTERM, and then until the agent is gone or the grace is spent. Raises NoListeners or OSError."""
    loop = asyncio.get_running_loop()
    sockets = listeners.inherited(os.environ, pid=os.getpid())
    genesis = auditchain.genesis(given.pod_uid, time.time_ns() // 1_000_000)
    journal = Journal(Path(given.journal), later=loop.call_later, clock=loop.time, genesis=genesis)
    purse = Purse(loop.time)
    door = Door(given.agent_id, clock=loop.time, purse=purse, spent=journal.spent)
    admission = Admission(door)
    parking = Parking(admission.stopping, under_way=lambda: door.inflight, within_s=given.park_s, clock=loop.time)
    keys = Keys(Path(given.keys_dir), tenant=given.tenant, agent_id=given.agent_id)
    tools = ToolChannels(keys.sign)
    models = ModelGenerate(ModelKeys(Path(given.model_keys_dir)))
    registry = metrics.registry()
    tracer = spans.to(given.otlp_endpoint, service="aion-gateway", **{"k8s.pod.name": given.pod_name})
    router = Router(
        door=door,
        handlers=(ToolInvoke(tools), models, NetFetch()),
        gates=(parking,),
        audit=journal,
        metrics=metrics.SyscallMetrics(registry, syscall.NAMES),
        tracer=tracer,
    )
    caller = Caller(given.tenant, given.agent_id)
    dialects = Served(router, standing=lambda who: door.standing(who, who.agent_id))
    tidying: set[asyncio.Task[None]] = set()

    def granted(frame: frames.Granted) -> None:
        """Compile schemas and let go of tools that are no longer granted, after the frame and before the next call."""
        loop.call_soon(door.warm)
        task = loop.create_task(tools.keep(frozenset(tool.endpoint for tool in frame.grant.tools)))
        tidying.add(task)
        task.add_done_callback(tidying.discard)
        _log.info("grant.taken", revision=frame.grant.policy_revision, policy=frame.grant.policy_digest)

    channel = Channel(
        kernel_url=given.kernel_url,
        token_file=given.token_path,
        hello=frames.Hello(given.pod_name, given.agent_id, __version__, journal.chain),
        door=door,
        journal=journal,
        purse=purse,
        totals=lambda: router.totals,
        granted=granted,
    )
    server = Server()
    peers = Known(frozenset({given.agent_uid, os.getuid()}))
    agent_face = AgentFace(
        router,
        door=door,
        admission=admission,
        caller=caller,
        dialects=dialects,
    )
    pod_face = PodFace(admission, parking, registry)
    egress_face = EgressFace(router, caller=caller)
    door.watch(egress_face.judge_again)
    for name, socket in sockets.items():
        if name in (listeners.EGRESS, listeners.PROXY):
            await egress_face.listen(socket, peers=peers)
        else:
            await server.listen(socket, pod_face if name == listeners.POD else agent_face, peers=peers)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, admission.stopping.set)
    talking = asyncio.create_task(channel.run(), name="channel")
    gc.freeze()  # what was imported stays: the collector need not walk it again
    gc.set_threshold(YOUNG)
    await asyncio.wait((talking, asyncio.create_task(admission.stopping.wait())), return_when=asyncio.FIRST_COMPLETED)
    if talking.done():
        talking.result()

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(given.grace_s):
            await admission.gone.wait()
    admission.stopped.set()
    await asyncio.gather(server.close(within_s=CUT_S), egress_face.close(within_s=CUT_S))
    await dialects.close()
    purse.give_back()
    if not await channel.drain(within_s=DRAIN_S):
        _log.warning("audit.left", bytes=journal.pending_bytes, path=given.journal)
    talking.cancel()
    await asyncio.gather(talking, *tidying, return_exceptions=True)
    await tools.close()
    await models.close()
    journal.close()
    tracer.close()


def main() -> int:
    """Read the environment and serve; the exit status."""
    try:
        given = settings.read(os.environ)
        logs.configure(level=given.log_level, tenant=given.tenant, agent=given.agent)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(given))
    except (settings.BadSettings, listeners.NoListeners, ValueError) as wrong:
        return termination.leave(termination.EX_CONFIG, str(wrong))
    except OSError as failed:
        return termination.leave(termination.EX_UNAVAILABLE, f"the gateway cannot start: {failed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
