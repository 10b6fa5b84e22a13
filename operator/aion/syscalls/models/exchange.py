"""The rim of model.generate: one HTTP client, the keys, and attempts until somebody answers.

Apart because here alone something is sent. Backends are asked in the route's order, then again in turn, as `attempts` and
each one's breaker allow; once a byte of an answer has come there is no other attempt. What an answer used is noted on the
call, whoever stops waiting for it. It must never log, keep or pass on a key, and never follow a redirect.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import aiohttp
import msgspec

from aion.api import errors, syscall
from aion.api.generation import Generated, Request
from aion.api.grant import Backend
from aion.syscalls.call import Call
from aion.syscalls.model_generate import ModelKeys
from aion.syscalls.modelroutes import Target
from aion.syscalls.models import attempts, kinds, pricing
from aion.syscalls.models.attempts import Failed
from aion.syscalls.models.breaker import Breaker
from aion.syscalls.models.kinds import Kind
from aion.syscalls.models.reading import Reading, charge

CONNECT_S = 5.0
STREAM_IDLE_S = 300.0
"""How long a stream may say nothing: models read long questions, and think."""
MAX_ANSWER = 32 << 20
MAX_ERROR = 64 << 10
CONNECTIONS = 1024

_encoder = msgspec.json.Encoder()


class Clock(NamedTuple):
    """Time and chance, given so that tests can hold them still."""

    monotonic: Callable[[], float] = time.monotonic
    epoch: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    toss: Callable[[], float] = random.random


class Exchange:
    """One process's way to its models."""

    def __init__(self, keys: ModelKeys, *, clock: Clock | None = None) -> None:
        self._keys = keys
        self._clock = clock or Clock()
        self._breakers: dict[str, Breaker] = {}
        self._kinds: dict[str, Kind] = {}
        self._session: aiohttp.ClientSession | None = None

    async def generate(self, call: Call, request: Request, targets: Sequence[Target]) -> bytes | Reading:
        """Ask until somebody answers: the result as JSON, or the stream; raises SyscallError."""
        failure: attempts.Failure | None = None
        left = list(targets)
        for done in range(1, attempts.ROUNDS + 1):
            for target in tuple(left):
                breaker = self._breaker(target.backend)
                if not breaker.admits(self._clock.monotonic()):
                    continue
                try:
                    return await self._attempt(call, request, target, breaker)
                except Failed as failed:
                    failure = failed.failure
                if not failure.elsewhere:
                    raise failure.error
                if not failure.again:
                    left.remove(target)
            wait = self._pause(call, left, done) if left else None
            if wait is None:
                break
            await self._clock.sleep(wait)
        raise failure.error if failure is not None else self._all_rest(targets)

    async def close(self) -> None:
        """End every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _attempt(self, call: Call, request: Request, target: Target, breaker: Breaker) -> bytes | Reading:
        """One question to one backend, and what it means for its breaker; raises Failed."""
        answered = False
        try:
            answer = await self._ask(call, request, target, breaker)
            answered = True
        except Failed as failed:
            now = self._clock.monotonic()
            if failed.failure.ill:
                breaker.failed(now)
            if failed.failure.rest_s is not None:
                breaker.rests(now, seconds=failed.failure.rest_s)
            raise
        finally:
            if answered:
                breaker.succeeded()
            else:
                breaker.gave_up()
        return answer

    async def _ask(self, call: Call, request: Request, target: Target, breaker: Breaker) -> bytes | Reading:
        backend, kind = target.backend, self._kind(target.backend)
        model = target.model or request.model
        try:
            ask = kind.ask(request, backend=backend, model=model, max_tokens=pricing.most_out(backend, request))
        except errors.BadParams as cannot:
            raise Failed(attempts.Failure(cannot, again=False, ill=False)) from None
        call.engine = syscall.Engine("model", f"{backend.name}/{model}")
        key = self._keys.key(backend.key or backend.name)
        try:
            response = await self._post(backend, ask, key, kind=kind, stream=request.stream)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise Failed(attempts.unreachable(backend.name, _why(error))) from None
        except asyncio.CancelledError:
            charge(call, backend, pricing.unseen(backend, request))  # it may well work on, and be paid for it
            raise
        if response.status != 200:
            raise Failed(await self._refused(backend, response, key))
        if request.stream:
            return Reading(
                call,
                request,
                response,
                backend=backend,
                model=model,
                kind=kind,
                fell_ill=lambda: breaker.failed(self._clock.monotonic()),
            )
        return await self._whole(call, request, response, target, kind)

    async def _post(
        self, backend: Backend, ask: kinds.Ask, key: str, *, kind: Kind, stream: bool
    ) -> aiohttp.ClientResponse:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **dict(ask.headers)}
        if key:
            name, value = kind.authorize(key)
            headers[name] = value
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_S, sock_read=STREAM_IDLE_S if stream else None)
        return await self._client().post(
            backend.url + ask.path, data=ask.body, headers=headers, allow_redirects=False, timeout=timeout
        )

    async def _whole(
        self, call: Call, request: Request, response: aiohttp.ClientResponse, target: Target, kind: Kind
    ) -> bytes:
        """Read a whole answer. One that cannot be read, or is not waited for, is paid for all the same."""
        backend = target.backend
        usage = pricing.unseen(backend, request)
        try:
            try:
                body = await _body(response, most=MAX_ANSWER)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise Failed(attempts.broken(backend.name, f"its answer broke off ({_why(error)})")) from None
            try:
                answer = kind.answer(body)
            except errors.UpstreamFailed as unreadable:
                raise Failed(attempts.broken(backend.name, unreadable.message)) from None
            usage = answer.usage or pricing.worst(backend, request)
        finally:
            response.close()
            charge(call, backend, usage)
        made = Generated(
            message=answer.message,
            finish_reason=answer.finish_reason,
            model=answer.model or target.model or request.model,
            backend=backend.name,
            usage=usage,
        )
        return _encoder.encode(made)

    async def _refused(self, backend: Backend, response: aiohttp.ClientResponse, key: str) -> attempts.Failure:
        try:
            said = kinds.words(await _body(response, most=MAX_ERROR))
        except (aiohttp.ClientError, OSError, TimeoutError):
            said = ""
        finally:
            response.close()
        if key:
            said = said.replace(key, "…")
        headers = {name.lower(): value for name, value in response.headers.items()}
        return attempts.of_status(backend.name, response.status, headers, said, now=self._clock.epoch())

    def _pause(self, call: Call, targets: Sequence[Target], done: int) -> float | None:
        now = self._clock.monotonic()
        opens_in = min(self._breaker(target.backend).opens_in(now) for target in targets)
        return attempts.pause(done, opens_in=opens_in, left=call.deadline - now, toss=self._clock.toss())

    def _all_rest(self, targets: Sequence[Target]) -> errors.UpstreamFailed:
        now = self._clock.monotonic()
        wait = min(self._breaker(target.backend).opens_in(now) for target in targets)
        names = ", ".join(target.backend.name for target in targets)
        return errors.UpstreamFailed(
            f"nobody is asked for the moment, after failures on end: {names}. Try again in {wait:.0f} s",
            retry_after_ms=max(1, int(wait * 1000)),
            details={"backends": [target.backend.name for target in targets]},
        )

    def _breaker(self, backend: Backend) -> Breaker:
        return self._breakers.setdefault(backend.name, Breaker())

    def _kind(self, backend: Backend) -> Kind:
        if backend.kind not in self._kinds:
            self._kinds[backend.kind] = kinds.of(backend.kind)
        return self._kinds[backend.kind]

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, ttl_dns_cache=30, keepalive_timeout=30),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._session


async def _body(response: aiohttp.ClientResponse, *, most: int) -> bytes:
    """The whole body; raises ClientPayloadError where it is longer than it may be."""
    parts, size = [], 0
    while piece := await response.content.readany():
        size += len(piece)
        if size > most:
            raise aiohttp.ClientPayloadError(f"more than {most} bytes")
        parts.append(piece)
    return b"".join(parts)


def _why(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
