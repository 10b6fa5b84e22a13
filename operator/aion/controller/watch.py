"""kopf, as an informer and nothing more: it lists, watches and reconnects; what it tells goes to the feed.

Apart because kopf's other half, its reconciler, is edge-triggered and writes on the objects it serves: none of that is used. Two handlers a kind.
The index handler runs for every object of the first lists before any event handler does, so that when the first event is told every kind has been listed
whole: that is the moment at which workers may begin, and from then on the event handler does both, since each handler costs as much as kopf's reading of the
event. It must never write: no event, no annotation, no finalizer, no peering object.
"""

import asyncio
import logging
from typing import Any, cast

import kopf

from aion.controller.feed import Feed
from aion.controller.sweep import SWEPT
from aion.controller.watches import Watches

REQUEST_S = 30
CONNECT_S = 10
CHUNK = 500
EXIT_S = 15  # below the Pod's terminationGracePeriodSeconds


class _NoDifferences(kopf.DiffBaseStorage):
    """Nothing is compared: an object is the same as ever, and nothing is written on it."""

    def build(self, **_: Any) -> kopf.BodyEssence:  # noqa: ANN401 - kopf's keywords
        """No part of an object counts."""
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> None:  # noqa: ANN401
        """Nothing was ever stored."""

    def store(self, **_: Any) -> None:  # noqa: ANN401
        """Nothing is to be stored."""


class _NoProgress(kopf.ProgressStorage):
    """No handler here is ever half done."""

    def fetch(self, **_: Any) -> None:  # noqa: ANN401
        """Nothing was ever stored."""

    def store(self, **_: Any) -> None:  # noqa: ANN401
        """Nothing is to be stored."""

    def purge(self, **_: Any) -> None:  # noqa: ANN401
        """Nothing is there to be purged."""

    def touch(self, **_: Any) -> None:  # noqa: ANN401
        """Nobody waits to be woken."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """The essence holds nothing of ours."""
        return essence


def settings() -> kopf.OperatorSettings:
    """Kopf's settings, each for its reason."""
    told = kopf.OperatorSettings()
    told.peering.standalone = True  # peering is no leader election: equals pause each other, and nobody serves
    told.posting.enabled = False
    told.watching.chunk_size = CHUNK
    told.watching.connect_timeout = CONNECT_S
    for resource, selector in SWEPT:
        if selector:
            told.watching.label_selectors[resource.plural] = selector
    told.networking.request_timeout = REQUEST_S
    told.networking.connect_timeout = CONNECT_S
    told.networking.enforce_retry_after = True
    told.queueing.error_delays = (1, 1, 2, 3, 5, 8, 13, 21, 34, 60)
    # A limit on kopf's workers would hang the first listing for ever where a kind has more objects than the limit.
    told.queueing.worker_limit = None
    # kopf takes away *its* finalizer from every object: it must be a name that nobody uses, and never ours.
    told.persistence.finalizer = "aion.os/kopf-unused"
    # By default each event copies its object three times, to find a difference that nobody here asks for.
    told.persistence.diffbase_storage = _NoDifferences()
    told.persistence.progress_storage = _NoProgress()
    told.process.ultimate_exiting_timeout = EXIT_S
    return told


def registry(feed: Feed, watches: Watches) -> kopf.OperatorRegistry:
    """Handlers that hand everything to the feed, and to the watch over the watches."""
    made = kopf.OperatorRegistry()

    async def remember(body: kopf.Body, **_: Any) -> None:  # noqa: ANN401 - kopf's keywords
        feed.seen(dict(body))

    async def tell(event: kopf.RawEvent, **_: Any) -> None:  # noqa: ANN401
        document = dict(event["object"])
        if event["type"] != "DELETED":
            feed.seen(document)
        watches.told(document)
        feed.told(event["type"], document)

    def first_lists(**_: Any) -> bool:  # noqa: ANN401
        return not feed.synced.is_set()

    for resource, _selector in SWEPT:
        group, _slash, version = resource.api.rpartition("/")
        kopf.index(group, version, resource.plural, id=f"remember-{resource.plural}", registry=made, when=first_lists)(
            remember
        )
        kopf.on.event(group, version, resource.plural, id=f"tell-{resource.plural}", registry=made)(tell)
    kopf.on.login(registry=made, id="service-account")(kopf.login_with_service_account)
    kopf.on.login(registry=made, id="kubeconfig")(kopf.login_with_kubeconfig)
    return made


async def run(feed: Feed, watches: Watches, *, ready: asyncio.Event, stop: asyncio.Event) -> None:
    """Watch until `stop`; raises where kopf cannot go on. `ready` is set when it has started, and has taken the signals."""
    quieten()
    await kopf.operator(
        registry=registry(feed, watches),
        settings=settings(),
        clusterwide=True,
        standalone=True,
        ready_flag=ready,
        stop_flag=stop,
    )


def quieten() -> None:
    """Kopf logs a line per object and event at INFO; only what is wrong is news."""
    logging.getLogger("kopf").setLevel(logging.WARNING)
