"""What agent authors import: `Agent`, and the errors it raises. The standard library alone.

It must never import `aion`, and never grow a name here without a reader of the README in mind.
"""

from aion_sdk.agent import Agent
from aion_sdk.errors import SyscallError
from aion_sdk.result import Engine, Result, Usage

__all__ = ["Agent", "Engine", "Result", "SyscallError", "Usage"]
