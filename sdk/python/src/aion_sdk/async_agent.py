"""The agent's hand on AION-OS for asyncio: `await AsyncAgent(...).syscall(name, params)`.

Apart from agent.py so that an agent without asyncio does not load it. It must never block the event loop, and never put
back a connection whose call was cancelled.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from aion_sdk import async_connection, attempt, http1
from aion_sdk.call import Call
from aion_sdk.caller import TIMEOUT_S, Caller
from aion_sdk.result import Result


class AsyncAgent(Caller):
    """One agent, as its own asyncio code sees it: `Agent` with `await` before `syscall`, and `async with`.

    At most 100 calls are on their way at once, the others wait their turn within their own time-out. A call that is
    cancelled may still be done by the gateway. Usable from several event loops; close it in each.
    """

    def __init__(  # noqa: PLR0917  (as Agent's)
        self,
        agent_id: str,
        kernel_url: str,
        secret: str | bytes | None = None,
        tenant: str | None = None,
        key_id: str = "default",
        timeout: float = TIMEOUT_S,
    ) -> None:
        super().__init__(agent_id, kernel_url, secret, tenant, key_id, timeout)
        self._pools: dict[asyncio.AbstractEventLoop, async_connection.Pool] = {}

    async def syscall(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        *,
        budget: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        timeout: float | None = None,
        idempotent: bool | None = None,
        caps_required: Sequence[str] = (),
        traceparent: str | None = None,
    ) -> Result:
        """Ask for one syscall and wait for its answer: parameters and errors are those of `Agent.syscall`."""
        call = self._prepare(
            name,
            params,
            budget=budget,
            task_id=task_id,
            timeout=timeout,
            idempotent=idempotent,
            caps_required=caps_required,
            traceparent=traceparent,
        )
        for count in itertools.count(1):
            try:
                return await self._attempt(call)
            except attempt.Failed as failed:
                pause = call.pause(failed.error, attempt=count, sent=failed.sent)
                if pause is None:
                    raise failed.error from failed.__cause__
            await asyncio.sleep(pause)
        raise AssertionError("the count has no end")

    async def aclose(self) -> None:
        """Close the idle connections of this event loop. The agent may go on being used."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.close()

    async def __aenter__(self) -> AsyncAgent:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _attempt(self, call: Call) -> Result:
        try:
            answer = await self._pool().exchange(call)
        except (attempt.Ended, http1.BrokenAnswer) as ended:
            raise attempt.failure(call, self._address, ended) from ended
        return attempt.settle(answer)

    def _pool(self) -> async_connection.Pool:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            for other in [other for other in self._pools if other.is_closed()]:
                del self._pools[other]
            pool = self._pools[loop] = async_connection.Pool(self._address, self._who)
        return pool
