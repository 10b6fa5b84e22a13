"""`python -m aion.kernel`: the control API of a cluster, until SIGTERM.

It stands apart because it alone assembles: environment, API server, Redis, server. It starts without the network and
becomes ready when Redis answers, the cluster has been read and a policy is in force. It must never log the Redis URL.
"""

import asyncio
import signal
import sys

import pydantic
import uvloop

from aion import __version__
from aion.api import backends
from aion.kernel import app, oidc
from aion.kernel.clock import wall_ms
from aion.kernel.cluster import ApiServer
from aion.kernel.redisstore import RedisStore
from aion.kernel.settings import Settings
from aion.kernel.tenantkeys import ClusterKeys
from aion.serving import sockets
from aion.telemetry import logs, spans, termination

_log = logs.get("kernel")


async def serve(given: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then let requests and channels end within the grace; raises OSError, ValueError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    cluster = ApiServer(given.kube_url, token_file=given.kube_token_file, ca_file=given.kube_ca_file)
    try:
        store = RedisStore(
            given.redis_url.get_secret_value(), wall_ms, events_kept=given.events_kept, audit_kept=given.audit_kept
        )
        kernel = app.assemble(
            store=store,
            keys=ClusterKeys(cluster, namespaces=given.namespaces),
            cluster=cluster,
            namespace=given.release_namespace,
            namespaces=given.namespaces,
            tracer=spans.to(given.otlp_endpoint, service="aion-kernel", **{"k8s.pod.name": given.pod_name}),
            replica=f"kernel/{given.pod_name}",
            audience=given.channel_audience,
            silent_after_s=given.silent_after_s,
            default_ceiling=given.default_capabilities,
            backends=backends.read(given.models),
            oidc=oidc.read(given.oidc),
            rates=given.rates,
            connections=given.connections,
        )
        async with kernel.serving(
            [sockets.bind(given.host, given.port)], grace_s=given.grace_s, linger_s=given.linger_s
        ):
            _log.info("kernel.serving", port=given.port, version=__version__)
            await stop.wait()
            _log.info("kernel.stopping", linger_s=given.linger_s, grace_s=given.grace_s)
    finally:
        await cluster.close()


def main() -> int:
    """Read the environment and serve; the exit status."""
    try:
        given = Settings()
        logs.configure(level=given.log_level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(given))
    except pydantic.ValidationError as wrong:
        fields = ", ".join(f"AION_{str(each['loc'][0]).upper()}: {each['msg']}" for each in wrong.errors())
        return termination.leave(termination.EX_CONFIG, f"the environment of the kernel: {fields}")
    except (sockets.AddressTaken, ValueError) as wrong:
        return termination.leave(termination.EX_CONFIG, f"the kernel cannot start: {wrong}")
    except OSError as failed:
        return termination.leave(termination.EX_UNAVAILABLE, f"the kernel cannot start: {failed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
