"""The real router and the real handler of model.generate, with a stand-in for the models that it asks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from syscalls_stage import ME, Stage

from aion.api import generation
from aion.api.generation import Chunk, Gathering
from aion.api.grant import Backend, Grant, ModelRoute
from aion.syscalls import testing
from aion.syscalls.model_generate import ModelGenerate
from aion.syscalls.models.standin import StandIn
from aion.syscalls.stream import Stream

KINDS = ("openai", "ollama", "anthropic")
PATH = {"openai": "/v1", "ollama": "", "anthropic": ""}
PRICE_IN, PRICE_OUT = 150_000, 600_000  # 0.15 and 0.60 USD for a million


def backend(url: str, kind: str = "openai", *, name: str = "", **fields: object) -> Backend:
    given = {"price_in": PRICE_IN, "price_out": PRICE_OUT, **fields}
    return Backend(name=name or kind, kind=kind, url=url + PATH[kind], **given)  # type: ignore[arg-type]


def routed(*backends: Backend, **fields: object) -> Grant:
    """A grant of every model name by these backends in turn, and of `<kind>/…` names by one each."""
    names = tuple(each.name for each in backends)
    return testing.granted(models=(ModelRoute(model="*", backends=names),), backends=backends, **fields)  # type: ignore[arg-type]


@asynccontextmanager
async def asking(*grants: Grant, keys: testing.FixedKeys | None = None) -> AsyncIterator[Stage]:
    handler = ModelGenerate(keys or testing.FixedKeys())
    try:
        yield Stage(handler, grants=grants)
    finally:
        await handler.close()


@asynccontextmanager
async def staged(kind: str = "openai", *, every_s: float = 0, **fields: object) -> AsyncIterator[tuple[Stage, StandIn]]:
    async with StandIn(every_s=every_s).serving() as standin:
        async with asking(routed(backend(standin.url, kind), **fields)) as stage:
            yield stage, standin


async def streamed(
    stage: Stage, *, dialect: str = "", limits: dict[str, object] | None = None, **params: object
) -> Stream:
    asked = testing.request(generation.SYSCALL, {"stream": True, **params}, **(limits or {}))
    stream = await stage.router.serve(generation.SYSCALL, asked, ME, dialect=dialect)
    assert isinstance(stream, Stream), stream
    return stream


async def gathered(stream: Stream) -> Gathering:
    whole = Gathering()
    async with stream:
        async for chunk in stream:
            assert isinstance(chunk, Chunk)
            whole.take(chunk)
    return whole


def at_rest(stage: Stage) -> bool:
    standing = stage.door.standings[testing.AGENT]
    return standing.inflight == 0 and standing.ledger.reserved == 0
