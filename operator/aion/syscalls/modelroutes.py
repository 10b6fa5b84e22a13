"""Which backends a model's name leads to, for one agent: the grant's routes, ready to be looked up.

Apart from `rights`, whose part it is, because models have their own words: names, patterns with a `*` at the end, and an
order in which backends are asked. Frozen. It must never lead anywhere that the grant does not name.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from aion.api import errors
from aion.api.grant import Backend, Grant


class Target(NamedTuple):
    """A backend, and what it calls the model; empty: as the caller does."""

    backend: Backend
    model: str


class Routes:
    """One agent's models."""

    def __init__(self, grant: Grant) -> None:
        backends = {each.name: each for each in grant.backends}
        self._revision = grant.policy_revision
        self._exact: dict[str, tuple[Target, ...]] = {}
        self._prefixes: list[tuple[str, tuple[Target, ...]]] = []
        for route in grant.models:
            targets = tuple(Target(backends[name], route.upstream) for name in route.backends if name in backends)
            if not targets:
                continue
            if route.model.endswith("*"):
                self._prefixes.append((route.model[:-1], targets))
            else:
                self._exact.setdefault(route.model, targets)
        prefix = "model:"
        self._refused: Mapping[str, str] = MappingProxyType(
            {name.removeprefix(prefix): rule for name, rule in grant.refused.items() if name.startswith(prefix)}
        )

    @property
    def names(self) -> tuple[str, ...]:
        """What may be asked for: names, and patterns that end in `*`."""
        return (*self._exact, *(f"{prefix}*" for prefix, _ in self._prefixes))

    def to(self, model: str) -> tuple[Target, ...]:
        """Who answers for this model, in the order to be asked; raises PolicyDenied, or BadParams for an unknown one.

        A whole name goes before a pattern, and of patterns the first that covers it.
        """
        if (found := self._exact.get(model)) is not None:
            return found
        for prefix, targets in self._prefixes:
            if model.startswith(prefix):
                return targets
        for name, rule in self._refused.items():
            if name == model or (name.endswith("*") and model.startswith(name[:-1])):
                raise errors.PolicyDenied(
                    f"agent may not use model {model[:80]!r}; it may use {self._listed()}",
                    rule=f"models.{name}@rev{self._revision}: {rule}",
                )
        said = f"got model {model[:80]!r}, expected one that policy routes for this agent: {self._listed()}"
        raise errors.BadParams(said, details={"errors": [{"path": "/model", "message": said}], "models": self.names})

    def _listed(self) -> str:
        return ", ".join(self.names[:20]) or "none (policy models.routes names none for it)"
