"""What follows from an Agent's spec alone: accepted, rendered and bound once for each spec, not at each pass.

Apart from the plan because an Agent is looked at four times while it comes up, and each time its spec is the same: parsing it, writing out its Pod to know
the Pod's name and compiling its grant are most of a pass. What is kept is small: of a Pod its mark and needs, never the document. A draft is as pure as
what it remembers; it must never be asked about another spec than the one it was made of, which `Drafts` sees to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from aion.api.agent import Agent
from aion.controller import accept, binding, diagnosis, plan, render_agent
from aion.controller.accept import Refusal
from aion.controller.binding import Binding, Held
from aion.controller.diagnosis import Needs
from aion.controller.plan import Mark
from aion.controller.recipes import AgentRecipe
from aion.controller.sealed import Document
from aion.controller.settings import Settings
from aion.controller.views import Key, RootView

FEW = 4
"""Looks that are remembered of one spec: two files' versions, with a GPU and without."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the few Pods that a spec allows: with which files, and on how many GPUs."""

    source_digest: str
    gpus: int


@dataclass(frozen=True, slots=True)
class Look:
    """What a Pod would ask of a node, and how to know it again: its name is in the mark."""

    needs: Needs
    mark: Mark


@dataclass(slots=True)
class Draft:
    """One accepted Agent."""

    model: Agent
    recipe: AgentRecipe
    account: Document
    account_mark: Mark
    settings: Settings
    _looks: dict[Variant, Look] = field(default_factory=dict)
    _bound: tuple[tuple[object, ...], Binding] | None = None

    def pod(self, variant: Variant) -> Document:
        """The Pod, written out."""
        recipe = replace(self.recipe, source_digest=variant.source_digest, gpus=variant.gpus)
        return render_agent.pod(recipe, settings=self.settings)

    def look(self, variant: Variant) -> Look:
        """What is to be known of that Pod without writing it out again."""
        found = self._looks.get(variant)
        if found is None:
            if len(self._looks) >= FEW:
                self._looks.clear()  # its files have changed often
            pod = self.pod(variant)
            found = Look(diagnosis.needs(pod["spec"], profile=self.recipe.profile), plan.mark(pod))
            self._looks[variant] = found
        return found

    def bound(
        self, *, holder: RootView | None, held: Held | None, ceiling: tuple[str, ...] | None, ceiling_of: str
    ) -> Binding:
        """Which policy binds it; compiled anew when the pointer, the bundle or the ceiling is another."""
        by = (binding.active(holder), held and held.digest, ceiling, ceiling_of)
        if self._bound is None or self._bound[0] != by:
            self._bound = by, binding.of(self.model, holder=holder, held=held, ceiling=ceiling, ceiling_of=ceiling_of)
        return self._bound[1]


class Drafts:
    """The newest draft of each Agent. `profiles` maps the names of the installed seccomp profiles to their sha256."""

    def __init__(self, *, settings: Settings, profiles: Mapping[str, str]) -> None:
        self._settings = settings
        self._profiles = profiles
        self._made: dict[Key, tuple[Mapping[str, object], Draft | Refusal]] = {}

    def of(self, root: RootView) -> Draft | Refusal:
        """Its draft, or why there is none; the store keeps one document for as long as its spec and metadata stay the same."""
        found = self._made.get(root.key)
        if found is None or found[0] is not root.document:
            found = self._made[root.key] = root.document, self._draft(root)
        return found[1]

    def forget(self, key: Key) -> None:
        """It is gone."""
        self._made.pop(key, None)

    def _draft(self, root: RootView) -> Draft | Refusal:
        accepted = accept.agent(root, settings=self._settings, profiles=self._profiles)
        if isinstance(accepted, Refusal):
            return accepted
        model, recipe = accepted
        account = render_agent.service_account(recipe)
        return Draft(model, recipe, account, plan.mark(account), self._settings)
