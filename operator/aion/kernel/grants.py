"""What each agent may do right now, compiled from the registry and the policy in force.

It stands apart from the channel so that a gateway in a Pod and a caller outside are granted by the same lines. It
must never grant more than `aion.api.grant.compile` gives, nor anything before both pictures are complete.
"""

from dataclasses import dataclass

from aion.api import grant
from aion.api.policy import Bundle, digest
from aion.kernel.registry import Registry


@dataclass(frozen=True, slots=True)
class Policy:
    """The bundle in force. `revision` only rises."""

    bundle: Bundle
    revision: int
    digest: str

    @classmethod
    def of(cls, bundle: Bundle, *, revision: int) -> "Policy":
        """Return a bundle with its digest."""
        return cls(bundle, revision, digest(bundle))


class Grants:
    """Compiles grants; `set_policy` rings everyone's bell."""

    def __init__(self, registry: Registry, policy: Policy) -> None:
        self.registry = registry
        self._policy = policy

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    def set_policy(self, policy: Policy) -> None:
        """Put another bundle in force."""
        self._policy = policy
        self.registry.bells.ring_all()

    def of(self, tenant: str, name: str) -> grant.Grant | None:
        """Return what this Agent may do, or None where there is no such Agent."""
        agent = self.registry.agents.get(tenant, name)
        if agent is None:
            return None
        return grant.compile(agent, self.registry.tools.of(tenant), self._policy.bundle, revision=self._policy.revision)
