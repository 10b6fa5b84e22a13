"""What agent authors import: `Agent`, `AsyncAgent`, and the errors they raise. The standard library alone.

It must never import `aion`, and never grow a name here without a reader of the README in mind. `AsyncAgent` is loaded
when it is first named: asyncio takes longer to load than all the rest, and most agents need one of the two.
"""

from typing import TYPE_CHECKING

from aion_sdk.agent import Agent
from aion_sdk.errors import SyscallError
from aion_sdk.result import Engine, Result, Usage

if TYPE_CHECKING:
    from aion_sdk.async_agent import AsyncAgent
else:

    def __getattr__(name: str) -> object:
        if name != "AsyncAgent":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from aion_sdk.async_agent import AsyncAgent

        globals()[name] = AsyncAgent
        return AsyncAgent


__all__ = ["Agent", "AsyncAgent", "Engine", "Result", "SyscallError", "Usage"]
