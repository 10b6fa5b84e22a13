"""The agent's hand on AION-OS: `Agent(...).syscall(name, params)`.

Apart from the wire so that authors read one short class. It must never decide what an agent may do: it asks, and the
gateway answers.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from aion_sdk import address as addresses
from aion_sdk import call as calls
from aion_sdk import connection, errors, http1, result

TIMEOUT_S = 35.0  # a tool's own limit is 30 s by default; the gateway's answer about it should arrive before ours


class Agent:
    """One agent, as its own code sees it. Safe to share between threads.

    `agent_id` is `agent://<tenant>/<name>`. `kernel_url` is `unix:///run/aion/gw.sock` in a Pod, where the socket says who
    calls, or `http(s)://…` outside, where `secret` signs (a tenant's key named `key_id`). `timeout` is seconds a call may
    take, retries included.
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
        self._who = identity(agent_id, tenant=tenant, secret=secret, key_id=key_id)
        self._address = addresses.parse(kernel_url)
        self._timeout = timeout
        self._pool = connection.Pool(self._address)
        self._seq = itertools.count(1)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Agent:
        """The agent this process is, by AION_AGENT_ID, AION_TENANT, AION_KERNEL_URL or AION_GATEWAY_SOCKET.

        Outside a cluster AION_SECRET and AION_KEY_ID are read too. Raises ValueError naming what is missing.
        """
        url = environ.get("AION_KERNEL_URL") or ""
        if not url and (path := environ.get("AION_GATEWAY_SOCKET")):
            url = f"unix://{path}"
        if not url or not environ.get("AION_AGENT_ID"):
            raise ValueError(
                "set AION_AGENT_ID, and AION_KERNEL_URL or AION_GATEWAY_SOCKET; in an Agent's Pod they are set"
            )
        return cls(
            environ["AION_AGENT_ID"],
            url,
            secret=environ.get("AION_SECRET") or None,
            tenant=environ.get("AION_TENANT") or None,
            key_id=environ.get("AION_KEY_ID") or "default",
        )

    @property
    def agent_id(self) -> str:
        """`agent://<tenant>/<name>`."""
        return self._who.agent_id

    @property
    def tenant(self) -> str:
        """The tenant; in a cluster its namespace."""
        return self._who.tenant

    def syscall(
        self,
        name: str,
        params: Mapping[str, Any],
        *,
        budget: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        timeout: float | None = None,
        idempotent: bool | None = None,
        caps_required: Sequence[str] = (),
        traceparent: str | None = None,
    ) -> result.Result:
        """Ask for one syscall and wait for its answer.

        `budget` is `{"usd_max": …, "latency_ms": …}`; `timeout` in seconds also becomes `latency_ms`. `idempotent=True` says
        that asking twice does no harm, so that a lost answer is asked for again. Raises a subclass of errors.SyscallError.
        """
        call = calls.prepare(
            self._who,
            name,
            params,
            seq=next(self._seq),
            timeout=self._timeout if timeout is None else timeout,
            latency=timeout is not None,
            budget=budget,
            task_id=task_id,
            idempotent=idempotent,
            caps_required=caps_required,
            traceparent=traceparent,
        )
        for attempt in itertools.count(1):
            try:
                return self._attempt(call)
            except _Failed as failed:
                pause = call.pause(failed.error, attempt=attempt, sent=failed.sent)
                if pause is None:
                    raise failed.error from failed.__cause__
                time.sleep(pause)
        raise AssertionError("the count has no end")

    def close(self) -> None:
        """Close the idle connections. The agent may go on being used."""
        self._pool.close()

    def __enter__(self) -> Agent:  # noqa: PYI034  (Self is newer than the oldest Python we serve)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Agent({self.agent_id!r}, {str(self._address)!r})"

    def _attempt(self, call: calls.Call) -> result.Result:
        try:
            answer = self._pool.exchange(call.head(self._address, self._who), call)
        except (connection.Unsent, connection.Lost, TimeoutError, http1.BrokenAnswer) as error:
            raise failure(call, self._address, error) from error
        return read(answer)


class _Failed(Exception):  # noqa: N818  (never leaves this package)
    """One attempt's error, and whether the request may have been executed."""

    def __init__(self, error: errors.SyscallError, *, sent: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.sent = sent


def identity(agent_id: str, *, tenant: str | None, secret: str | bytes | None, key_id: str) -> calls.Identity:
    """Who calls. Raises ValueError where the id does not fit its form or the tenant."""
    owner, slash, name = agent_id.removeprefix("agent://").partition("/")
    if not agent_id.startswith("agent://") or not (owner and slash and name) or not agent_id.isprintable():
        raise ValueError(f"agent_id: expected agent://<tenant>/<name>, got {agent_id!r}")
    if tenant is not None and tenant != owner:
        raise ValueError(f"tenant {tenant!r} is not the one in {agent_id!r}")
    return calls.Identity(agent_id, owner, secret.encode() if isinstance(secret, str) else secret, key_id)


def read(answer: http1.Answer) -> result.Result:
    """The Result of a whole answer; raises _Failed with the error it holds."""
    try:
        return result.read(answer.status, answer.headers, answer.body)
    except errors.SyscallError as error:
        raise _Failed(error, sent=True) from None


def failure(call: calls.Call, where: addresses.Address, error: Exception) -> _Failed:
    """What a broken conversation means for the call."""
    if isinstance(error, connection.Unsent):
        message = f"nobody answers at {where}: {error}; is the gateway or kernel running?"
        return _Failed(errors.Unavailable(message), sent=False)
    if isinstance(error, TimeoutError):
        sent = bool(error.args and error.args[0])
        return _Failed(call.out_of_time(sent=sent), sent=True)
    if isinstance(error, connection.Lost):
        lost = f"{call.name}: the connection to {where} broke before the answer: {error}"
        return _Failed(errors.UnknownOutcome(lost), sent=True)
    return _Failed(errors.UnknownOutcome(f"{call.name}: the answer of {where} cannot be read: {error}"), sent=True)
