"""`tool.invoke {tool, …args}`: call one of the namespace's Tools.

The tool's capabilities are checked against the agent's before anything is sent, the params against the tool's schema,
and what the tool does in its turn comes back here as nested syscalls, held to the capabilities that agent and Tool both
have. It must never call a tool that the grant does not list.
"""

from functools import partial
from time import monotonic

import msgspec

from aion.api import errors, toolcall
from aion.syscalls.call import Call, Work
from aion.syscalls.rights import ToolRight
from aion.syscalls.toolchannels import Tools
from aion.syscalls.toollink import Ask


class MayUseTool:
    """The policy of one tool: the caller holds every capability that it requires."""

    def __init__(self, right: ToolRight) -> None:
        self._right = right

    def verify(self, call: Call) -> None:
        """Deny by name of the first capability that agent (or, in a nested call, the calling tool) lacks."""
        missing = self._right.needs - call.held
        if missing:
            first = min(missing)
            who = "agent" if first not in call.rights.capabilities else f"tool {call.tool}"
            raise call.rights.lacks(first, needed_by=f"tool {self._right.tool.name}", who=who)


class ToolInvoke:
    """The handler."""

    name = "tool.invoke"
    capability = None

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def worst_case(self, call: Call) -> int:  # noqa: ARG002 - the protocol's
        """A tool's own work is free; what it buys, it buys by nested syscalls."""
        return 0

    def admit(self, call: Call) -> Work:
        """Find the tool, then ask capabilities and schema."""
        if (size := len(memoryview(call.params))) > toolcall.MAX_PARAMS_BYTES:
            raise errors.TooLarge(f"params have {size} bytes, a tool takes at most {toolcall.MAX_PARAMS_BYTES}")
        args = _arguments(call.params)
        name = args.pop("tool", None)
        if not isinstance(name, str) or not name:
            raise errors.BadParams(
                "params.tool must name the tool to call",
                details={"errors": [{"path": "/tool", "message": "a non-empty string is required"}]},
            )
        call.subject = name
        right = call.rights.tools.get(name)
        if right is None:
            raise call.rights.no_tool(name)
        call.engine, call.idempotent = right.engine, right.tool.idempotent
        MayUseTool(right).verify(call)
        right.schema.check(args)
        call.by(seconds=right.tool.timeout_ms / 1000, limit="the tool's timeoutMs")
        return partial(self._work, call, right, msgspec.Raw(msgspec.json.encode(args)))

    async def _work(self, call: Call, right: ToolRight, args: msgspec.Raw) -> bytes:
        held = call.held & right.needs

        async def nested(name: str, params: msgspec.Raw) -> bytes:
            return await call.router.nested(call, name, params, held=held)

        ask = Ask(
            params=args,
            context=toolcall.CallContext(
                agent_id=call.rights.agent_id,
                tenant=call.rights.tenant,
                task_id=call.context.task_id,
                traceparent=call.context.traceparent,
            ),
            remaining=lambda: call.deadline - monotonic(),
            nested=nested,
        )
        return await self._tools.invoke(right.tool.endpoint, ask, idempotent=right.tool.idempotent)


def _arguments(params: msgspec.Raw) -> dict[str, object]:
    try:
        return msgspec.json.decode(params, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError) as error:
        raise errors.BadParams(f"params cannot be read: {error}") from None
