"""Both clients behind one face, so that one suite holds them to the same contract."""

import asyncio
from typing import Any

from sdk_server import ME

from aion_sdk import Agent, AsyncAgent, Result


class Awaited:
    """An AsyncAgent asked from plain code, in an event loop of its own that stands still between two calls."""

    def __init__(self, *args: Any, **more: Any) -> None:
        self.agent = AsyncAgent(*args, **more)
        self._loop = asyncio.new_event_loop()

    @classmethod
    def from_env(cls) -> "Awaited":
        made = cls(ME, "unix:///nowhere")
        made.agent = AsyncAgent.from_env()
        return made

    def syscall(self, *args: Any, **more: Any) -> Result:
        return self._loop.run_until_complete(self.agent.syscall(*args, **more))

    def __enter__(self) -> "Awaited":
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self.agent.aclose())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def __repr__(self) -> str:
        return repr(self.agent)


FACES = {"plain": Agent, "asyncio": Awaited}
