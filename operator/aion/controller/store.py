"""The controller's memory of the cluster: views by uid, and which root each one belongs to.

It stands apart from the watch because sights come on three ways, the watch, the answers to our own writes and the sweep, and out of order: here the
newest counts, and what is gone stays gone; what only lost the label that we select by, and got it back, does not count as that. It never asks the API server anything, and never decides what should exist.
Every change answers with the keys that must look again; an event that changes no view answers with none.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from aion.api.shape import InvalidManifest
from aion.api.tenant import Tenant
from aion.controller import views
from aion.controller.sources import Source
from aion.controller.views import ChildView, DeploymentView, Document, Key, NamespaceView, NodeView, PodView, RootView

View: TypeAlias = RootView | PodView | DeploymentView | ChildView | NodeView | NamespaceView

_TOMBSTONES = 8192  # uids of the recently deleted: far more than a sweep can overlap with

_PROJECT: dict[str, Callable[[Document], View]] = {
    "Agent": views.root,
    "Tool": views.root,
    "Policy": views.root,
    "Pod": views.pod,
    "Deployment": views.deployment,
    "ServiceAccount": views.child,
    "Service": views.child,
    "NetworkPolicy": views.child,
    "PodDisruptionBudget": views.child,
    "ResourceQuota": views.child,
    "LimitRange": views.child,
    "Tenant": views.root,
    "Namespace": views.namespace,
    "Node": views.node,
}


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything one plan may look at, read once."""

    root: RootView | None
    version: int = 0  # the root's resourceVersion, for a compare-and-swap
    pods: tuple[PodView, ...] = ()
    deployment: DeploymentView | None = None
    children: frozenset[ChildView] = frozenset()
    nodes: tuple[NodeView, ...] = ()
    policy: RootView | None = None  # the Policy that holds the pointer
    tools: tuple[RootView, ...] = ()  # the Tools of the namespace, of a Tool's or an Agent's plan
    users: tuple[str, ...] = ()  # the Agents that name this Tool in spec.tools
    namespace: NamespaceView | None = None  # of a Tenant
    tenanted: bool = False  # of an Agent: whether its namespace has a Tenant
    ceiling: tuple[str, ...] | None = None  # of an Agent: the most that its Tenant lets it be allowed
    source: Source | None = None  # the files of an Agent that names some; read beside the store


class Store:
    """Single-threaded, in memory, rebuilt by the first list after a start. `pointer` names the Policy that counts."""

    def __init__(self, *, pointer: Key | None = None) -> None:
        self._pointer = pointer
        self._by_uid: dict[str, dict[str, View]] = {kind: {} for kind in _PROJECT}
        self._roots: dict[Key, RootView] = {}
        self._homes: dict[str, dict[Key, RootView]] = defaultdict(dict)
        self._namespaces: dict[str, NamespaceView] = {}
        self._tools: dict[str, dict[Key, RootView]] = defaultdict(dict)  # few, where Agents may be thousands
        self._versions: dict[str, int] = {}
        self._gone: OrderedDict[str, int | None] = OrderedDict()
        self._children: dict[Key, dict[str, PodView | DeploymentView | ChildView]] = defaultdict(dict)

    def __len__(self) -> int:
        return sum(len(kept) for kept in self._by_uid.values())

    def upsert(self, document: Document) -> set[Key]:
        """Remember an object as it is now; what is older than what is held, or was deleted already, is passed over.

        Answers of our own writes and pages of a LIST come in beside the watch, so sights may arrive out of order.
        """
        kind, uid = document["kind"], document["metadata"]["uid"]
        version = int(document["metadata"].get("resourceVersion") or 0)
        if version < self._versions.get(uid, 0) or not self._back(uid, version):
            return set()
        self._versions[uid] = version
        view = _PROJECT[kind](document)
        before = self._by_uid[kind].get(uid)
        if before == view:
            return set()
        if isinstance(view, RootView) and isinstance(before, RootView) and before.document == view.document:
            view = replace(
                view, document=before.document
            )  # the same document, for whoever remembers what follows from it
        self._by_uid[kind][uid] = view
        if before is not None:
            self._unlink(uid, before)
        self._link(uid, view)
        if isinstance(view, NodeView):
            return self._node_changed(before, view)
        if isinstance(view, RootView) and view.key == self._pointer:
            return {view.key} | self._pointer_moved(before, view)
        concerned = self._neighbours(before, view)
        return concerned | self._keys(view) | (self._keys(before) if before is not None else set())

    def remove(self, kind: str, uid: str, *, version: int | None = None) -> set[Key]:
        """Forget an object that is gone: for good, or until a sight of it is newer than `version`.

        A watch by label says the same of an object that is deleted and of one that lost its label; only the latter is ever seen again.
        """
        self._gone[uid] = version
        if len(self._gone) > _TOMBSTONES:
            self._gone.popitem(last=False)
        self._versions.pop(uid, None)
        view = self._by_uid[kind].pop(uid, None)
        if view is None:
            return set()
        self._unlink(uid, view)
        if isinstance(view, RootView) and view.key == self._pointer:
            return {view.key, *self._agents()}
        return self._keys(view) | self._neighbours(view, None)

    def _back(self, uid: str, version: int) -> bool:
        """Whether a sight counts, after what was told of the object's end."""
        if uid not in self._gone:
            return True
        ended = self._gone[uid]
        if ended is None or version <= ended:
            return False
        del self._gone[uid]
        return True

    def view(self, kind: str, uid: str) -> View | None:
        """What is held of one object."""
        return self._by_uid[kind].get(uid)

    def uids(self, kind: str, namespace: str = "", name: str = "") -> frozenset[str]:
        """What is held of a kind, in a namespace or everywhere, by any name or by one."""
        return frozenset(
            uid
            for uid, view in self._by_uid[kind].items()
            if namespace in ("", _home(view)) and name in ("", _called(view))
        )

    def roots(self) -> tuple[Key, ...]:
        """Every root object."""
        return tuple(self._roots)

    def inhabited(self, namespace: str) -> bool:
        """Whether any Agent or Tool lives in the namespace."""
        return any(key.kind in ("Agent", "Tool") for key in self._homes.get(namespace, ()))

    def root(self, key: Key) -> RootView | None:
        """One root object."""
        return self._roots.get(key)

    def observe(self, key: Key) -> Observed:
        """One frozen sight of a root and what belongs to it; Pods in a stable order."""
        root = self._roots.get(key)
        children = self._children.get(key, {}).values()
        pods = sorted((c for c in children if isinstance(c, PodView)), key=lambda pod: (pod.name, pod.uid))
        tools, home = self._tools.get(key.namespace, {}), self._homes.get(key.namespace, {})
        nodes = (n for n in self._by_uid["Node"].values() if isinstance(n, NodeView))
        return Observed(
            root=root,
            version=self._versions.get(root.uid, 0) if root else 0,
            pods=tuple(pods),
            deployment=next((c for c in children if isinstance(c, DeploymentView)), None),
            children=frozenset(c for c in children if isinstance(c, ChildView)),
            nodes=tuple(sorted(nodes, key=lambda node: node.name)),
            policy=self._roots.get(self._pointer) if self._pointer else None,
            tools=tuple(tools[each] for each in sorted(tools)),
            users=tuple(sorted(each.name for each in home if key.name in named_tools(home[each])))
            if key.kind == "Tool"
            else (),
            namespace=self._namespaces.get(key.name) if key.kind == "Tenant" else None,
            tenanted=Key("Tenant", "", key.namespace) in self._roots,
            ceiling=ceiling(self._roots.get(Key("Tenant", "", key.namespace))),
        )

    def _keys(self, view: View) -> set[Key]:
        if isinstance(view, RootView):
            return {view.key}
        if isinstance(view, NamespaceView):
            return {view.tenant} & self._roots.keys()
        if isinstance(view, NodeView):
            return set()
        return {view.owner} if view.owner else set()

    def _node_changed(self, before: View | None, now: NodeView) -> set[Key]:
        """A node that got or lost a profile, a GPU or its kubelet may explain, or free, every Pod that is not ready."""
        told = (now.profiles, now.gpus, now.ready)
        if isinstance(before, NodeView) and (before.profiles, before.gpus, before.ready) == told:
            return set()
        held = (pod for pod in self._by_uid["Pod"].values() if isinstance(pod, PodView))
        return {pod.owner for pod in held if pod.owner and not pod.ready}

    def _pointer_moved(self, before: View | None, now: RootView) -> set[Key]:
        """Every Agent says which policy binds it."""
        if isinstance(before, RootView) and before.status.get("active") == now.status.get("active"):
            return set()
        return self._agents()

    def _neighbours(self, before: View | None, now: View | None) -> set[Key]:
        """Who else must look when an Agent or a Tool changes: the Tools that it names, those that share a name with it, a Tenant's Agents."""
        if isinstance(before, RootView) and isinstance(now, RootView) and before.document == now.document:
            return set()
        concerned: set[Key] = set()
        for view in (before, now):
            if not isinstance(view, RootView):
                continue
            if view.key.kind == "Tenant" and _capabilities(before) != _capabilities(now):
                concerned |= {key for key in self._homes.get(view.key.name, ()) if key.kind == "Agent"}
            home = self._homes.get(view.key.namespace, {})
            concerned |= {key for name in named_tools(view) if (key := Key("Tool", view.key.namespace, name)) in home}
            if view.key.kind == "Tool":
                concerned |= {
                    key
                    for key, each in home.items()
                    if key != view.key
                    and (called(each) == called(view) if key.kind == "Tool" else view.key.name in named_tools(each))
                }
        return concerned

    def _agents(self) -> set[Key]:
        return {key for key in self._roots if key.kind == "Agent"}

    def _indexes(self, key: Key) -> tuple[dict[str, dict[Key, RootView]], ...]:
        return (self._homes, self._tools) if key.kind == "Tool" else (self._homes,)

    def _link(self, uid: str, view: View) -> None:
        if isinstance(view, RootView):
            self._roots[view.key] = view
            for index in self._indexes(view.key):
                index[view.key.namespace][view.key] = view
        elif isinstance(view, NamespaceView):
            self._namespaces[view.name] = view
        elif not isinstance(view, NodeView) and view.owner:
            self._children[view.owner][uid] = view

    def _unlink(self, uid: str, view: View) -> None:
        if isinstance(view, RootView):
            if self._roots.get(view.key) is view:
                del self._roots[view.key]
                for index in self._indexes(view.key):
                    del index[view.key.namespace][view.key]
                    if not index[view.key.namespace]:
                        del index[view.key.namespace]
        elif isinstance(view, NamespaceView):
            self._namespaces.pop(view.name, None)
        elif not isinstance(view, NodeView) and view.owner and (kept := self._children.get(view.owner)) is not None:
            kept.pop(uid, None)
            if not kept:
                del self._children[view.owner]


def _home(view: View) -> str:
    """The namespace that an object lives in; empty for one that lives in none."""
    if isinstance(view, RootView):
        return view.key.namespace
    return "" if isinstance(view, NodeView | NamespaceView) else view.namespace


def _called(view: View) -> str:
    return view.key.name if isinstance(view, RootView) else view.name


def named_tools(root: RootView) -> frozenset[str]:
    """The Tools that an Agent names in spec.tools, of a spec that is not yet accepted; nothing of another kind."""
    named = root.document["spec"].get("tools") if root.key.kind == "Agent" else None
    return frozenset(name for name in named if isinstance(name, str)) if isinstance(named, list) else frozenset()


def called(tool: RootView) -> str:
    """What agents call a Tool, of a spec that is not yet accepted."""
    return str(tool.document["spec"].get("toolName") or tool.key.name)


def ceiling(tenant: RootView | None) -> tuple[str, ...] | None:
    """A Tenant's spec.capabilities, by the kernel's rule: None where none is set, nothing where it cannot be read."""
    if tenant is None:
        return None
    try:
        return Tenant.from_cluster(tenant.document).spec.capabilities
    except InvalidManifest:
        return ()


def _capabilities(tenant: View | None) -> object:
    """The ceiling as it is written; False without a Tenant, where the chart's is in force."""
    return tenant.document["spec"].get("capabilities") if isinstance(tenant, RootView) else False
