"""The router's door in a Pod: one agent, by the newest grant that the kernel sent, for as long as it holds.

Apart because "what may this agent do right now" is one small state machine: nothing yet, granted, granted but out of
touch, revoked. A grant outlives the kernel's absence for its own `offline_s` and not a second longer. It must never
answer with rights that nobody vouches for.
"""

import asyncio
from collections.abc import Callable

from aion.api import errors
from aion.api.grant import Grant
from aion.syscalls import rights, router
from aion.syscalls.budgets import Ledger
from aion.syscalls.call import Caller, Standing
from aion.syscalls.purse import Purse

_RETRY_MS = 1000


class Door:
    """The standing of the one agent in this Pod. `clock` is monotonic, in seconds.

    `purse` is filled by the channel; without one the tenant's quota lends nothing. `spent` is what the agent has spent of
    its Pod's budget before this process began, in micro-USD.
    """

    def __init__(
        self, agent_id: str, *, clock: Callable[[], float], purse: Purse | None = None, spent: int = 0
    ) -> None:
        self._agent_id = agent_id
        self._spent = spent
        self._purse = purse or Purse(clock)
        self._clock = clock
        self._standing: Standing | None = None
        self._until = float("inf")
        self._revoked: str | None = None
        self.granted = asyncio.Event()
        """Set while there is a grant."""
        self._watchers: list[Callable[[], None]] = []

    @property
    def inflight(self) -> int:
        """Calls under way."""
        return self._standing.inflight if self._standing else 0

    @property
    def max_body_bytes(self) -> int:
        """No more of a body is read than this."""
        return self._standing.rights.grant.limits.max_body_bytes if self._standing else 1 << 20

    def grant(self, granted: Grant) -> None:
        """Hold the agent to this grant from now on; its account and its calls under way live on.

        Raises ValueError for a grant of another agent's, and for one by an older policy, or by another of the same
        revision, than it was held to before: a replica that lags behind must not undo what another one granted.
        """
        if granted.agent_id != self._agent_id:
            raise ValueError(f"got a grant for {granted.agent_id}, this is the gateway of {self._agent_id}")
        self._follows(granted)
        made = rights.of(granted)
        self._purse.limit(usd=granted.tenant_micro_usd is not None, tokens=granted.tenant_tokens is not None)
        if self._standing is None:
            self._standing = Standing(made, Ledger(spent=self._spent, purse=self._purse))
        else:
            self._standing.rights = made
        self._revoked = None
        self._until = float("inf")
        self.granted.set()
        self._tell()

    def _follows(self, granted: Grant) -> None:
        if self._standing is None:
            return
        held = self._standing.rights.grant
        now, then = (granted.policy_revision, granted.policy_digest), (held.policy_revision, held.policy_digest)
        if now[0] < then[0] or (now[0] == then[0] and now[1] != then[1]):
            raise ValueError(
                f"got policy revision {now[0]} ({now[1][:12]}), this agent is held to {then[0]} ({then[1][:12]}): a revision "
                "only rises, and is one bundle"
            )

    def revoke(self, reason: str) -> None:
        """Let nothing through from now on."""
        self._revoked = reason
        self.granted.clear()
        self._tell()

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` run after every grant and revocation: for what is under way and may not go on."""
        self._watchers.append(changed)

    def _tell(self) -> None:
        for changed in self._watchers:
            changed()

    def lost(self) -> None:
        """The kernel is out of touch: the grant's own patience begins, unless it has begun already."""
        if self._standing is not None and self._until == float("inf"):
            self._until = self._clock() + self._standing.rights.grant.offline_s

    def standing(self, caller: Caller, agent_id: str) -> Standing:  # noqa: ARG002 - there is one caller in a Pod
        """The agent's standing; raises Unavailable, PolicyDenied or TenantMismatch."""
        if self._revoked is not None:
            raise errors.PolicyDenied(f"the kernel revoked this agent's grant: {self._revoked}", rule="grant.revoked")
        if self._standing is None:
            raise errors.Unavailable("the kernel has not granted anything yet: retry", retry_after_ms=_RETRY_MS)
        if self._clock() > self._until:
            patience = self._standing.rights.grant.offline_s
            raise errors.Unavailable(
                f"the kernel is out of touch for more than {patience} s (policy limits.offline_s): nothing is let through",
                retry_after_ms=_RETRY_MS,
            )
        return router.owner_only(self._standing, agent_id)

    def warm(self) -> None:
        """Compile the tools' schemas, so that no call waits for it."""
        if self._standing is not None:
            self._standing.rights.warm()
