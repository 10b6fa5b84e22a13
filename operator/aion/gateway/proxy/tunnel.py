"""One tunnel as a syscall: judged like a fetch, dialled by an address that was judged, then bytes until it ends.

Apart because it is the proxy's only dealing with policy. It is `net.fetch` with an engine of kind `tunnel`: the same
capability, rules and record, whether an agent asks by syscall or its HTTP library asks by CONNECT. The name is resolved
once. It must never answer "established" before there is a connection, nor send a byte to the host before the greeting
was read where one is due.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

from aion.api import errors
from aion.api.syscall import Context, Engine
from aion.gateway.proxy import answering, asked, framing
from aion.gateway.proxy.relay import Relay
from aion.syscalls import egress
from aion.syscalls.call import Call, Work
from aion.syscalls.net_fetch import Lookup
from aion.syscalls.router import Reply

GREETING_S = 10.0
"""How long a client may take to greet by TLS: one flight, on a socket of its own machine."""

MAX_ADDRESSES = 4
"""Of a name, as many are tried."""

ATTEMPT_S = 5.0
"""For each address but the last, which has all the time that is left."""


class Tunnel:
    """A handler.Handler for one connection. `relay` is there once it is open."""

    name = "net.fetch"
    capability = "network"

    def __init__(
        self,
        request: asked.Asked,
        client: asyncio.Transport,
        *,
        early: bytes,
        resolve: Lookup,
        opened: Callable[["Tunnel"], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`early` are bytes that came behind the head; `opened` is told when there is a connection, and may still refuse."""
        self.asked = request
        self.relay: Relay | None = None
        self.call: Call | None = None
        self.idle_s = float("inf")
        self._client = client
        self._early = early
        self._resolve = resolve
        self._opened = opened
        self._clock = clock
        self._dialled: egress.Address | None = None
        self._greeting: framing.Greeting | None = None

    @property
    def engine(self) -> Engine:
        """What carries it, as the record says."""
        return Engine("tunnel", "tunnel/connect" if self.asked.connect else "tunnel/http")

    def worst_case(self, call: Call) -> int:  # noqa: ARG002 - the protocol's
        """Carrying is free."""
        return 0

    def admit(self, call: Call) -> Work:
        """Judge host and port; raises PolicyDenied."""
        request = self.asked
        if said := request.header(b"traceparent"):
            call.context = Context(traceparent=said.decode("latin-1"))
        allowed = call.rights.reach.verify(request.host, request.port)
        literal = egress.address(allowed.host)
        if literal is not None:
            allowed.choose([literal])
        return partial(self._work, call, allowed)

    def verify_still(self) -> None:
        """Hold the host and the address that was dialled against what is granted now; raises PolicyDenied."""
        if self.call is None:
            return
        allowed = self.call.rights.reach.verify(self.asked.host, self.asked.port)
        if self._dialled is not None:
            allowed.choose([self._dialled])

    def told(self, reply: Reply) -> bytes:
        """What the client can still be told of a refusal, in the language that it speaks by now; empty where nothing."""
        relay = self.relay
        if relay is None:
            return answering.refusal(reply)
        if relay.host.count:
            return b""
        if not self.asked.connect:
            return answering.refusal(reply)
        if relay.client.count or self._greeting is None:
            return b""
        return answering.in_tunnel(self._greeting.first, reply)

    async def _work(self, call: Call, allowed: egress.Allowed) -> bytes:
        limits = call.rights.grant.limits
        self.call, self.idle_s = call, limits.tunnel_idle_s
        relay = self._relay_of(allowed, most=limits.tunnel_max_bytes)
        try:
            await self._dial(relay, allowed, within_s=limits.syscall_timeout_ms / 1000)
            self._opened(self)
            call.answered = self._clock()
            self._start(relay)
            await self._over(relay)
        finally:
            relay.finish(None)
            call.bytes_out, call.bytes_in = relay.client.count, relay.host.count
        return b""

    def _relay_of(self, allowed: egress.Allowed, *, most: int) -> Relay:
        request = self.asked
        if request.connect:
            self._greeting = framing.Greeting(allowed)
            return Relay(most=most, clock=self._clock, outward=self._greeting)
        return Relay(
            most=most,
            clock=self._clock,
            outward=framing.ChunkedBody() if request.length is None else framing.LengthBody(request.length),
            inward=answering.AnswerHead(allowed.host),
            exchange=True,
        )

    async def _dial(self, relay: Relay, allowed: egress.Allowed, *, within_s: float) -> None:
        """Connect the relay's host end; raises PolicyDenied, UpstreamFailed or TimedOut."""
        loop, failure = asyncio.get_running_loop(), OSError("no address")
        try:
            async with asyncio.timeout(within_s):
                fit = await self._addresses(allowed)
                for found in fit:
                    try:
                        async with asyncio.timeout(None if found is fit[-1] else ATTEMPT_S):
                            await loop.create_connection(lambda: relay.host, str(found), allowed.port)
                    except OSError as error:  # a TimeoutError is one
                        failure = error
                    else:
                        self._dialled = found
                        return
        except TimeoutError:
            raise self._late(within_s) from None
        if isinstance(failure, TimeoutError):
            raise self._late(within_s)
        refused = isinstance(failure, ConnectionRefusedError)
        raise errors.UpstreamFailed(
            f"no connection to {self.asked.authority}: {failure.strerror or type(failure).__name__}",
            details={answering.PROXY_ERROR: "connection_refused" if refused else "destination_ip_unroutable"},
        )

    def _late(self, within_s: float) -> errors.TimedOut:
        return errors.TimedOut(
            f"no connection to {self.asked.authority} within {within_s * 1000:.0f} ms",
            details={answering.PROXY_ERROR: "connection_timeout"},
        )

    async def _addresses(self, allowed: egress.Allowed) -> Sequence[egress.Address]:
        literal = egress.address(allowed.host)
        try:
            found = [literal] if literal is not None else await self._resolve(allowed.host, allowed.port)
        except TimeoutError:
            raise
        except (OSError, UnicodeError) as error:
            raise errors.UpstreamFailed(
                f"{allowed.host} has no address: {error}", details={answering.PROXY_ERROR: "dns_error"}
            ) from None
        return allowed.choose(found)[:MAX_ADDRESSES]

    def _start(self, relay: Relay) -> None:
        """From here the client belongs to the relay, and is told so where it asked for a tunnel."""
        self.relay = relay
        if self.asked.connect:
            self._client.write(answering.OPENED)
        else:
            head = asked.forwarded(self.asked)
            relay.client.count += len(head)
            relay.host.transport.write(head)
        relay.start(self._client, first=self._early)
        self._early = b""

    async def _over(self, relay: Relay) -> None:
        """Wait for the end; where a greeting is due, not for ever."""
        greeting = self._greeting
        if greeting is not None and greeting.expected and not greeting.done:
            late = asyncio.get_running_loop().call_later(GREETING_S, relay.finish, greeting.late())
            relay.greeted = late.cancel
        await asyncio.wait((relay.over,))  # being cancelled must not cancel what it waits for: there is an end to make
        relay.over.result()
