"""Who asks, where, and for how long: what the plain and the asyncio agent have in common.

Apart so that both are made the same way and say the same on the wire. It must never do I/O.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from aion_sdk import address as addresses
from aion_sdk import call as calls
from aion_sdk.termination import obey_sigterm

TIMEOUT_S = 35.0  # a tool's own limit is 30 s by default; the gateway's answer about it should arrive before ours

_Self = TypeVar("_Self", bound="Caller")  # typing.Self is newer than the oldest Python we serve


class Caller:
    """One agent's identity, address and habits."""

    def __init__(  # noqa: PLR0917  (the order of the classic example)
        self,
        agent_id: str,
        kernel_url: str,
        secret: str | bytes | None = None,
        tenant: str | None = None,
        key_id: str = "default",
        timeout: float = TIMEOUT_S,
    ) -> None:
        self._who = calls.identify(agent_id, tenant=tenant, secret=secret, key_id=key_id)
        self._address = addresses.parse(kernel_url)
        self._timeout = calls.seconds(timeout)
        self._seq = itertools.count(1)

    @classmethod
    def from_env(cls: type[_Self], environ: Mapping[str, str] = os.environ) -> _Self:
        """The agent this process is, by AION_AGENT_ID, AION_TENANT, AION_KERNEL_URL or AION_GATEWAY_SOCKET.

        Outside a cluster AION_SECRET and AION_KEY_ID are read too. As process 1 of a container without a handler of its
        own, SIGTERM ends it from now on (SystemExit 143). Raises ValueError naming what is missing.
        """
        url = environ.get("AION_KERNEL_URL") or ""
        if not url and (path := environ.get("AION_GATEWAY_SOCKET")):
            url = f"unix://{path}"
        if not url or not environ.get("AION_AGENT_ID"):
            raise ValueError(
                "set AION_AGENT_ID, and AION_KERNEL_URL or AION_GATEWAY_SOCKET; in an Agent's Pod they are set"
            )
        obey_sigterm()
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

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.agent_id!r}, {str(self._address)!r})"

    def _prepare(
        self,
        name: str,
        params: Mapping[str, Any] | None,
        *,
        budget: Mapping[str, Any] | None,
        task_id: str | None,
        timeout: float | None,
        idempotent: bool | None,
        caps_required: Sequence[str],
        traceparent: str | None,
    ) -> calls.Call:
        return calls.prepare(
            self._who,
            name,
            {} if params is None else params,
            seq=next(self._seq),
            timeout=self._timeout if timeout is None else timeout,
            latency=timeout is not None,
            budget=budget,
            task_id=task_id,
            idempotent=idempotent,
            caps_required=caps_required,
            traceparent=traceparent,
        )
