"""A grant made ready for the hot path: every decision that does not depend on the request is taken here, once.

Apart because a grant changes a few times a day and is asked thousands of times a second. Patterns are expanded, refusals
have their text, schemas are compiled at first use. Frozen: a new grant makes new rights, which replace the old by one
assignment. It must never allow what the grant does not say.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from aion.api import errors, syscall
from aion.api.grant import Grant, ToolGrant
from aion.syscalls import egress, modelroutes, schemas


class Refusal(NamedTuple):
    """A denial that is known beforehand."""

    kind: type[errors.SyscallError]
    message: str
    rule: str

    def error(self) -> errors.SyscallError:
        """A fresh error: one that was raised before would carry its old traceback along."""
        return self.kind(self.message, rule=self.rule)


def _rule(grant: Grant, about: str, key: str, otherwise: str) -> str:
    """`capabilities.network@rev3: <who took it away>`: which rule of which policy revision."""
    return f"{about}@rev{grant.policy_revision}: {grant.refused.get(key, otherwise)}"


class ToolRight:
    """A Tool as this agent may call it."""

    def __init__(self, tool: ToolGrant) -> None:
        self.tool = tool
        self.needs = frozenset(tool.capabilities_required)
        self.engine = syscall.Engine("module", f"tooling/{tool.name}@{tool.version}")

    @cached_property
    def schema(self) -> schemas.Schema:
        """What the params must look like; compiled at the tool's first call or by `Rights.warm`."""
        return schemas.Schema(self.tool.input_schema, of=f"tool {self.tool.name}")


@dataclass(frozen=True, slots=True)
class Rights:
    """What one agent may do, ready to be looked up."""

    grant: Grant
    capabilities: frozenset[str]
    refusals: Mapping[str, Refusal]
    """By syscall name: those of the contract that the agent may not make itself."""
    tools: Mapping[str, ToolRight]
    reach: egress.Reach
    models: modelroutes.Routes

    @property
    def agent_id(self) -> str:
        """Whose rights these are."""
        return self.grant.agent_id

    @property
    def counts_tokens(self) -> bool:
        """Does any quota bound the tokens of a minute?"""
        return self.grant.minute_tokens is not None or self.grant.tenant_tokens is not None

    @property
    def tenant(self) -> str:
        """The agent's tenant."""
        return self.grant.tenant

    def lacks(self, capability: str, *, needed_by: str, who: str = "agent") -> errors.CapabilityDenied:
        """The denial of a call that needs a capability which `who` (the agent, or a tool) does not have."""
        otherwise = f"agent.spec.capabilities: {capability} is not asked for"
        if who != "agent":
            otherwise = f"{who} does not list {capability} in capabilitiesRequired"
        rule = _rule(self.grant, f"capabilities.{capability}", f"capability:{capability}", otherwise)
        return errors.CapabilityDenied(f"{who} lacks {capability}, needed by {needed_by}", rule=rule)

    def no_tool(self, name: str) -> errors.SyscallError:
        """Why there is no such tool for this agent: somebody said no to it, or nobody ever heard of it."""
        if self.grant.refuses_tool(name):
            return errors.PolicyDenied(
                f"agent may not call tool {name}", rule=_rule(self.grant, f"tools.{name}", f"tool:{name}", "")
            )
        known = ", ".join(sorted(self.tools)[:20]) or "none"
        return errors.NoSuchTool(f"got tool {name[:80]!r}, expected one of this agent's tools: {known}")

    def warm(self) -> None:
        """Compile every tool's schema now, so that no call waits for it. A wrong one is told to who calls its tool."""
        for right in self.tools.values():
            with contextlib.suppress(errors.UpstreamFailed):
                _ = right.schema


def of(grant: Grant) -> Rights:
    """Take every decision of a grant that can be taken beforehand. Pure."""
    granted = frozenset(grant.syscalls)
    refusals = {
        name: Refusal(
            errors.CapabilityDenied,
            f"agent may not call {name}",
            _rule(
                grant,
                "capabilities.syscalls",
                f"syscall:{name}",
                f"agent.spec.capabilities.syscalls: {name} is not asked for",
            ),
        )
        for name in syscall.NAMES
        if name not in granted
    }
    return Rights(
        grant=grant,
        capabilities=frozenset(grant.capabilities),
        refusals=MappingProxyType(refusals),
        tools=MappingProxyType({tool.name: ToolRight(tool) for tool in grant.tools}),
        reach=egress.Reach(grant.fetch, revision=grant.policy_revision),
        models=modelroutes.Routes(grant),
    )


NO_RIGHTS = of(Grant(agent_id="", tenant="", name="", version=""))
