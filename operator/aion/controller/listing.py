"""LIST one kind, and compare it with what is remembered: what is there is seen, what is not there any more is gone.

Apart because two need it alike: a watch that begins, or begins again where the server has forgotten what happened in between, and the sweep beneath the
watches. A watch alone never says what was deleted while it was away. It must never take an object for deleted that was born while the list ran.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from aion.api import labels
from aion.controller import kube, metrics
from aion.controller.feed import Feed
from aion.controller.kube import Cluster, Resource
from aion.controller.queue import Priority
from aion.controller.store import Store


class Watched(NamedTuple):
    """What is followed of one kind: those that wear `selector`, in `namespace` or everywhere, all of them or the one of that `name`."""

    resource: Resource
    selector: str = ""
    namespace: str = ""
    name: str = ""


class Compared(NamedTuple):
    """What a list has shown: how many changes nobody had told, and the version from which a watch goes on."""

    healed: int
    version: str


WATCHED: tuple[Watched, ...] = (
    Watched(kube.AGENTS),
    Watched(kube.TOOLS),
    Watched(kube.POLICIES),
    Watched(kube.NODES),
    Watched(kube.PODS, labels.SELECTOR),
    Watched(kube.DEPLOYMENTS, labels.SELECTOR),
    Watched(kube.SERVICES, labels.SELECTOR),
    Watched(kube.SERVICE_ACCOUNTS, labels.SELECTOR),
    Watched(kube.TENANTS),
    Watched(kube.NAMESPACES),
    Watched(kube.NETWORK_POLICIES, labels.SELECTOR),
    Watched(kube.DISRUPTION_BUDGETS, labels.SELECTOR),
    Watched(kube.QUOTAS, labels.SELECTOR),
    Watched(kube.LIMIT_RANGES, labels.SELECTOR),
)
"""Everything that a plan looks at, but for the files that Agents name."""


_NAMED_LIKE_NAMESPACES = (kube.TENANTS, kube.NAMESPACES)
_OF_THE_CLUSTER = (kube.NODES, kube.POLICIES)
"""Followed once, however many namespaces there are: nodes lie in none, and of the Policies one counts."""


def within(namespaces: Sequence[str], *, release: str) -> tuple[Watched, ...]:
    """WATCHED, for a controller that is bound to these namespaces: each right that it needs is a right in one of them, or to an object by its name."""
    if not namespaces:
        return WATCHED
    found: list[Watched] = []
    for each in WATCHED:
        if each.resource is kube.POLICIES:
            found.append(each._replace(namespace=release))
        elif each.resource in _OF_THE_CLUSTER:
            found.append(each)
        elif each.resource in _NAMED_LIKE_NAMESPACES:
            found += [each._replace(name=namespace) for namespace in namespaces]
        else:
            found += [each._replace(namespace=namespace) for namespace in namespaces]
    return tuple(found)


def followed_apart(namespaces: Sequence[str]) -> frozenset[str]:
    """The kinds that `within` follows by a watch for each namespace."""
    apart = {each.resource.kind for each in WATCHED if each.resource not in _OF_THE_CLUSTER}
    return frozenset(apart if namespaces else ())


async def compare(cluster: Cluster, watched: Watched, *, store: Store, feed: Feed) -> Compared:
    """List page by page, so that the objects never lie in memory all at once; raises KubeError."""
    kind = watched.resource.kind
    # Before the list: what is born during it is not taken for deleted.
    known = store.uids(kind, watched.namespace, watched.name)
    listed: set[str] = set()
    healed, version = 0, ""
    pages = cluster.pages(watched.resource, selector=watched.selector, namespace=watched.namespace, name=watched.name)
    async for page in pages:
        version = page.version
        for document in page.items:
            listed.add(document["metadata"]["uid"])
            healed += feed.seen(document, Priority.RESYNC)
    healed += sum(feed.gone(kind, uid, version=int(version or 0)) for uid in missing(known, listed))
    if known:
        metrics.HEALED.labels(kind).inc(healed)
    return Compared(healed, version)


def missing(known: Iterable[str], listed: set[str]) -> list[str]:
    """What is remembered, and is not there any more."""
    return [uid for uid in known if uid not in listed]
