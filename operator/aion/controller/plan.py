"""What one look at a root object decides: the hand-over from a plan to what carries it out.

Apart from both kinds' plans and from the applier, which meet only here. A plan is data: two equal sights give two equal plans, and
carrying one out twice is the same as once. It must never hold a secret: the applier makes those.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aion.api import labels
from aion.api.conditions import Condition
from aion.controller import outcome, ownership, views
from aion.controller.outcome import Outcome
from aion.controller.sealed import Document
from aion.controller.views import ChildView, DeploymentView, PodView


@dataclass(frozen=True, slots=True)
class Rekey:
    """A change of the key Secret in `namespace`: one key more by the id `make`, those of the ids `drop` fewer."""

    namespace: str
    make: str = ""
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """By what a child is known that was made of one document, and that nobody has changed since: the hash it wears, and the shape of what is ours in it."""

    kind: str
    name: str
    template_hash: str
    owned: str


@dataclass(frozen=True, slots=True)
class Plan:
    """`delete` and `prune` first, then `apply` in its order, then the status out of `conditions` and `facts`.

    What is in `over` is written over before it is applied, foreign parts of its lists and all: of a list whose items go by a key, an edit of the key leaves an
    item that is not ours, and the server refuses ours beside it.
    `keys_in` names the namespace whose key Secret must exist before the children. `facts` is the rest of the status; a field
    that it leaves out is taken back. No conditions: the status is left as it is.
    """

    delete: tuple[PodView, ...] = ()
    prune: tuple[ChildView, ...] = ()
    over: tuple[Document, ...] = ()
    apply: tuple[Document, ...] = ()
    keys_in: str = ""
    rekey: Rekey | None = None
    conditions: tuple[Condition, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome = field(default_factory=outcome.Done)

    @property
    def idle(self) -> bool:
        """Nothing is to be done to any child."""
        return not self.delete and not self.prune and not self.apply and self.rekey is None


def mark(document: Document) -> Mark:
    """The mark of a child that is made of this document."""
    shape = ownership.sent_pod if document["kind"] == "Pod" else ownership.sent
    meta = document["metadata"]
    return Mark(document["kind"], meta["name"], meta["labels"][labels.TEMPLATE_HASH], views.digest(shape(document)))


def bears(made: Mark, child: ChildView | DeploymentView | PodView) -> bool:
    """Whether the child of that kind and name is as it was made."""
    return (child.template_hash, child.owned) == (made.template_hash, made.owned)


def present(made: Mark, children: Iterable[ChildView]) -> bool:
    """Whether the child is there already, just as it would be applied."""
    return any((child.kind, child.name) == (made.kind, made.name) and bears(made, child) for child in children)
