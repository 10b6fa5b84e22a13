"""`model.generate {messages|prompt, model, max_tokens, …}`: ask a model, by the routes of policy.

The model's name is looked up in the grant's routes before anything else is done, and the worst that the answer can cost is
what the budget reserves. All that speaks to backends (`models`) is loaded at the first call, for many agents never make
one. It must never let a caller say where its words go: the grant does,
also where a picture's URL would have the backend go and fetch it.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from aion.api import errors
from aion.syscalls.call import Call, Work
from aion.syscalls.modelroutes import Target

if TYPE_CHECKING:
    from aion.api.generation import Request
    from aion.syscalls.models.exchange import Exchange
    from aion.syscalls.stream import Pieces


class ModelKeys(Protocol):
    """Whence the keys of backends come."""

    def key(self, name: str) -> str:
        """The key of this name; empty where there is none. Asked at each attempt, so that a changed key is in force at once."""


class ModelGenerate:
    """The handler."""

    name = "model.generate"
    capability = None

    def __init__(self, keys: ModelKeys) -> None:
        self._keys = keys
        self._exchange: Exchange | None = None
        self._loading: asyncio.Lock = asyncio.Lock()

    def worst_case(self, call: Call) -> int:
        """The question as long as it can be and the answer as long as it may be, at the dearest backend of the route."""
        return call.worst

    def admit(self, call: Call) -> Work:
        """Read the question and find out who may answer it."""
        from aion.api import generation
        from aion.syscalls.models import pricing

        request = generation.read(call.params)
        call.subject = request.model
        targets = call.rights.models.to(request.model)
        _verify_pictures(request, call)
        if request.stream and not call.streams:
            said = "an answer that streams cannot be given here: a tool's nested call, or an agent outside the cluster, asks without stream"
            raise errors.BadParams(said, details={"errors": [{"path": "/stream", "message": said}]})
        backends = [target.backend for target in targets]
        call.worst = pricing.worst_cost(backends, request)
        if call.rights.counts_tokens:
            call.tokens_max = pricing.worst_tokens(backends, request)
        return partial(self._work, call, request, targets)

    async def close(self) -> None:
        """End every connection to backends."""
        if self._exchange is not None:
            await self._exchange.close()

    async def _work(self, call: Call, request: "Request", targets: tuple[Target, ...]) -> "bytes | Pieces":
        exchange = self._exchange or await self._loaded()
        return await exchange.generate(call, request, targets)

    async def _loaded(self) -> "Exchange":
        async with self._loading:
            if self._exchange is None:
                make = await asyncio.to_thread(_load)  # the agent's other calls need not wait for it
                self._exchange = make(self._keys)
            return self._exchange


def _verify_pictures(request: "Request", call: Call) -> None:
    """Hold every URL that the backend would fetch against what the agent itself may fetch; raises SyscallError.

    Else a question would carry out in a URL what may not leave, and a backend inside the cluster would look there for who
    may not. The name is judged; what it resolves to, the backend finds.
    """
    from aion.api import generation

    urls = [
        part.url
        for turn in request.turns
        if not isinstance(turn.content, str)
        for part in turn.content
        if isinstance(part, generation.Image) and not part.url.startswith("data:")
    ]
    if not urls:
        return
    from aion.syscalls import fetchplan

    if "network" not in call.held:
        who = f"tool {call.tool}" if call.tool and "network" in call.rights.capabilities else "agent"
        raise call.rights.lacks("network", needed_by="a picture that the model's backend would fetch", who=who)
    for url in urls:
        fetchplan.judge(url, call)


def _load() -> "Callable[[ModelKeys], Exchange]":
    from aion.syscalls.models import exchange

    return exchange.Exchange
