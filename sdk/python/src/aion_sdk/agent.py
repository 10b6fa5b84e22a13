"""The agent's hand on AION-OS: `Agent(...).syscall(name, params)`.

Apart from the wire so that authors read one short class. It must never decide what an agent may do: it asks, and the
gateway answers.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from aion_sdk import attempt, connection, http1
from aion_sdk.call import Call
from aion_sdk.caller import TIMEOUT_S, Caller
from aion_sdk.result import Result


class Agent(Caller):
    """One agent, as its own code sees it. Safe to share between threads, and usable in a forked child.

    `agent_id` is `agent://<tenant>/<name>`. `kernel_url` is `unix:///run/aion/gw.sock` in a Pod, where the socket says who
    calls, or `http(s)://…` outside, where `secret` signs (a tenant's key named `key_id`). `timeout` is seconds a call may
    take, retries included. Raises ValueError where one of them cannot be right.
    """

    def __init__(  # noqa: PLR0917  (the order of the classic example)
        self,
        agent_id: str,
        kernel_url: str,
        secret: str | bytes | None = None,
        tenant: str | None = None,
        key_id: str = "default",
        timeout: float = TIMEOUT_S,
    ) -> None:
        super().__init__(agent_id, kernel_url, secret, tenant, key_id, timeout)
        self._pool = connection.Pool(self._address, self._who)

    def syscall(
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
        """Ask for one syscall and wait for its answer.

        `budget` is `{"usd_max": …, "latency_ms": …}`, dollars as a Decimal, a string or a number; `timeout` in seconds also
        becomes `latency_ms`. `idempotent=True` says that asking twice does no harm, so that a lost answer is asked for
        again. Raises a subclass of errors.SyscallError; ValueError or TypeError where nothing was sent because it cannot be
        a call.
        """
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
                return self._attempt(call)
            except attempt.Failed as failed:
                pause = call.pause(failed.error, attempt=count, sent=failed.sent)
                if pause is None:
                    raise failed.error from failed.__cause__
            time.sleep(pause)
        raise AssertionError("the count has no end")

    def close(self) -> None:
        """Close the idle connections. The agent may go on being used."""
        self._pool.close()

    def __enter__(self) -> Agent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _attempt(self, call: Call) -> Result:
        try:
            answer = self._pool.exchange(call)
        except (attempt.Ended, http1.BrokenAnswer) as ended:
            raise attempt.failure(call, self._address, ended) from ended
        return attempt.settle(answer)
