"""The rim to the API server: the only module that imports the Kubernetes client.

It stands apart so that the client can be swapped and faked: a few verbs over plain documents, every write counted and paced, every failure one of
`errors`. All writes of objects are server-side apply under one field manager: the whole set of fields we own is sent each time, and what
we leave out is taken back. It must never decide anything, nor read what it writes.
"""

import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeAlias
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from yarl import URL

from aion.controller import errors, metrics, wire
from aion.controller.budget import Budget

Document: TypeAlias = Mapping[str, Any]

FIELD_MANAGER = "aion-controller"
REQUEST_TIMEOUT_S = 30
CONNECT_S = 10
WATCH_S = (
    300,
    600,
)  # the server ends each watch in good order after a time between these, so that they do not end together
SILENT_S = (
    75  # the server says something once a minute, a bookmark if nothing else: a watch that is silent for longer is dead
)
JSON = "application/json"
METADATA_ONLY = f"{JSON};as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PAGE = 500  # objects a LIST page: 500 x 8 KB Pods = 4 MB, well under the server's and our own comfort


@dataclass(frozen=True)
class Resource:
    """Where objects of a kind live in the API."""

    api: str
    plural: str
    kind: str

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The request path of the collection, the object or its subresource."""
        parts = ["/apis" if "/" in self.api else "/api", self.api]
        parts += ["namespaces", quote(namespace, safe="")] if namespace else []
        parts += [self.plural, *([quote(name, safe="")] if name else []), *([subresource] if subresource else [])]
        return "/".join(parts)


AGENTS = Resource("aion.os/v1", "agents", "Agent")
TOOLS = Resource("aion.os/v1", "tools", "Tool")
POLICIES = Resource("aion.os/v1", "policies", "Policy")
PODS = Resource("v1", "pods", "Pod")
NODES = Resource("v1", "nodes", "Node")
SECRETS = Resource("v1", "secrets", "Secret")
CONFIG_MAPS = Resource("v1", "configmaps", "ConfigMap")
SERVICES = Resource("v1", "services", "Service")
SERVICE_ACCOUNTS = Resource("v1", "serviceaccounts", "ServiceAccount")
DEPLOYMENTS = Resource("apps/v1", "deployments", "Deployment")
TENANTS = Resource("aion.os/v1", "tenants", "Tenant")
NAMESPACES = Resource("v1", "namespaces", "Namespace")
QUOTAS = Resource("v1", "resourcequotas", "ResourceQuota")
LIMIT_RANGES = Resource("v1", "limitranges", "LimitRange")
EVENTS = Resource("events.k8s.io/v1", "events", "Event")
NETWORK_POLICIES = Resource("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy")
DISRUPTION_BUDGETS = Resource("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget")
LEASES = Resource("coordination.k8s.io/v1", "leases", "Lease")

BY_KIND = {
    r.kind: r
    for r in (
        AGENTS, TOOLS, POLICIES, PODS, NODES, SECRETS, CONFIG_MAPS, SERVICES, SERVICE_ACCOUNTS, DEPLOYMENTS,
        NETWORK_POLICIES, DISRUPTION_BUDGETS, TENANTS, NAMESPACES, QUOTAS, LIMIT_RANGES, EVENTS, LEASES,
    )
}  # fmt: skip


class Page(NamedTuple):
    """A part of a list; `version` is that of the whole list."""

    items: Sequence[Document]
    version: str


class Event(NamedTuple):
    """What a watch tells: ADDED, MODIFIED or DELETED of an object; of a BOOKMARK the object has only a version."""

    change: str
    document: Document


class Cluster(Protocol):
    """What the controller asks of an API server; `Kube` and the shipped fake both are one."""

    async def apply(self, document: Document, *, subresource: str = "") -> Document:
        """Server-side apply, forced; answers the object as stored. `subresource` may be "status".

        A document with metadata.resourceVersion is a compare-and-swap: Conflict where the object has moved on.
        """

    async def create(self, document: Document) -> bool:
        """Create; False where the name was taken already."""

    async def delete(
        self, resource: Resource, *, namespace: str, name: str, uid: str, grace_s: int | None = None
    ) -> bool:
        """Delete exactly this uid; False where it is gone or is another object by now."""

    async def read(self, resource: Resource, *, namespace: str, name: str, metadata_only: bool = False) -> Document:
        """One object, or only its metadata; raises NotFound."""

    async def merge(self, resource: Resource, *, namespace: str, name: str, patch: Document) -> None:
        """JSON merge patch of an object that is not read: for a field whose other values are not ours to know."""

    def pages(
        self, resource: Resource, *, selector: str = "", namespace: str = "", name: str = ""
    ) -> AsyncIterator[Page]:
        """Every object of the kind, of one namespace or of all, of one name or of all."""

    def watch(
        self, resource: Resource, *, since: str, selector: str = "", namespace: str = "", name: str = ""
    ) -> AsyncIterator[Event]:
        """What happens after version `since`, until the server ends it in good order; raises Expired where it has forgotten that."""


class Kube:
    """`Cluster` over the real client's credentials. `budget` paces the writes; while `may_write` says no, none is sent."""

    def __init__(
        self, client: ApiClient, *, budget: Budget | None = None, may_write: Callable[[], bool] = lambda: True
    ) -> None:
        self._client = client
        self._budget = budget
        self._may_write = may_write
        # The client's own session would look for a proxy and a .netrc in two threads for each request.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=client.rest_client.ssl_context),
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
            headers={"User-Agent": FIELD_MANAGER},
        )

    @classmethod
    async def connect(
        cls, *, kubeconfig: str = "", budget: Budget | None = None, may_write: Callable[[], bool] = lambda: True
    ) -> "Kube":
        """In the cluster by the Pod's ServiceAccount, elsewhere by the kubeconfig (KUBECONFIG, else the home's)."""
        configuration = Configuration()
        try:
            if kubeconfig:
                await config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]
            else:
                config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except config.ConfigException:
            if kubeconfig:
                raise
            await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return cls(ApiClient(configuration), budget=budget, may_write=may_write)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
        await self._client.close()  # type: ignore[no-untyped-call]

    async def apply(self, document: Document, *, subresource: str = "") -> Document:
        """Server-side apply, forced."""
        resource = BY_KIND[document["kind"]]
        meta = document["metadata"]
        answer = await self._write(
            "PATCH",
            resource.path(meta.get("namespace", ""), meta["name"], subresource),
            resource,
            "apply",
            subresource=subresource,
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            body=document,
            content_type="application/apply-patch+yaml",
        )
        return wire.read(resource.kind, answer)

    async def create(self, document: Document) -> bool:
        """Create-only: what exists is left alone."""
        resource = BY_KIND[document["kind"]]
        path = resource.path(document["metadata"].get("namespace", ""))
        try:
            await self._write("POST", path, resource, "create", query={"fieldManager": FIELD_MANAGER}, body=document)
        except errors.Conflict:
            return False
        return True

    async def delete(
        self, resource: Resource, *, namespace: str, name: str, uid: str, grace_s: int | None = None
    ) -> bool:
        """Delete this very object."""
        body: dict[str, Any] = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            await self._write("DELETE", resource.path(namespace, name), resource, "delete", body=body)
        except (errors.NotFound, errors.Conflict):
            return False
        return True

    async def read(self, resource: Resource, *, namespace: str, name: str, metadata_only: bool = False) -> Document:
        """One object; of a large one the metadata is some hundred bytes."""
        accept = METADATA_ONLY if metadata_only else JSON
        return dict(msgspec.json.decode(await self._fetch("GET", resource.path(namespace, name), accept=accept)))

    async def merge(self, resource: Resource, *, namespace: str, name: str, patch: Document) -> None:
        """JSON merge patch, under our field manager."""
        await self._write(
            "PATCH",
            resource.path(namespace, name),
            resource,
            "merge",
            query={"fieldManager": FIELD_MANAGER},
            body=patch,
            content_type="application/merge-patch+json",
        )

    async def put(self, document: Document) -> Document:
        """Create a Lease, or replace it at its metadata.resourceVersion; raises Conflict, NotFound.

        Beside budget and term: the election must get through while everything else waits, and it is what the term hangs on.
        """
        meta = document["metadata"]
        there = meta["name"] if meta.get("resourceVersion") else ""
        path = BY_KIND[document["kind"]].path(meta["namespace"], there)
        query = {"fieldManager": FIELD_MANAGER}
        return wire.read("Lease", await self._fetch("PUT" if there else "POST", path, query=query, body=document))

    async def pages(
        self, resource: Resource, *, selector: str = "", namespace: str = "", name: str = ""
    ) -> AsyncIterator[Page]:
        """Every object of the kind, page after page: as it is in etcd, not as some cache still knows it."""
        query = {"limit": str(PAGE), **_selected(selector, name)}
        while True:
            page = wire.listed.decode(await self._fetch("GET", resource.path(namespace), query=query))
            # The server names the kind once, on the list: each item of a built-in kind comes without.
            items = [wire.read(resource.kind, item, api=resource.api) for item in page.items or ()]
            yield Page(items, page.metadata.version)
            if not page.metadata.following:
                return
            query["continue"] = page.metadata.following

    async def watch(
        self, resource: Resource, *, since: str, selector: str = "", namespace: str = "", name: str = ""
    ) -> AsyncIterator[Event]:
        """One stream of events, line by line."""
        query = {
            "watch": "1",
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(random.randint(*WATCH_S)),  # noqa: S311 - nobody must be unable to guess it
            **_selected(selector, name),
        }
        limit = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENT_S)
        async with self._asked("GET", resource.path(namespace), query=query, limit=limit) as answer:
            if answer.status != 200:
                raise _refusal(answer, await answer.read())
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = _open(line)
                    if event.change == "ERROR":
                        status = wire.failure(event.object)
                        raise errors.of(status.code, status.message)
                    yield Event(event.change, wire.read(resource.kind, event.object))

    async def _write(
        self,
        method: str,
        path: str,
        resource: Resource,
        verb: str,
        *,
        subresource: str = "",
        query: Mapping[str, str] | None = None,
        body: Document | None = None,
        content_type: str = JSON,
    ) -> bytes:
        if self._budget is not None:
            await self._budget.take()
        if not self._may_write():
            msg = "not sent: this process does not hold the Lease"
            raise errors.Unreachable(msg, code=0)
        code = "error"
        try:
            answer = await self._fetch(method, path, query=query, body=body, content_type=content_type)
            code = "2xx"
        except errors.KubeError as error:
            code = str(error.code)
            if self._budget is not None and error.code in (429, 503) and error.retry_after:
                self._budget.pause(error.retry_after)
            raise
        else:
            return answer
        finally:
            metrics.API_WRITES.labels(resource.kind, subresource, verb, code).inc()

    async def _fetch(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Document | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes:
        """What a request is answered; raises KubeError for anything but success."""
        headers = {"Accept": accept, "Content-Type": content_type}
        data = None if body is None else msgspec.json.encode(body)
        async with self._asked(method, path, query=query, headers=headers, data=data) as answer:
            text = await answer.read()
        if not 200 <= answer.status < 300:
            raise _refusal(answer, text)
        return text

    @contextlib.asynccontextmanager
    async def _asked(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str] = MappingProxyType({"Accept": JSON}),
        data: bytes | None = None,
        limit: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request, with our credentials; whatever breaks while it is answered is Unreachable."""
        configuration = self._client.configuration
        # Asked for anew on each request: the client re-reads a rotated ServiceAccount token here.
        if bearer := (await configuration.auth_settings()).get("BearerToken"):
            headers = {**headers, "Authorization": str(bearer["value"])}
        url = URL(configuration.host + path + (f"?{urlencode(query)}" if query else ""), encoded=True)
        try:
            async with self._session.request(
                method,
                url,
                headers=headers,
                data=data,
                proxy=configuration.proxy,
                server_hostname=configuration.tls_server_name,
                timeout=limit or self._session.timeout,
            ) as answer:
                yield answer
        except (aiohttp.ClientError, OSError) as error:
            msg = f"the API server did not answer {method} {path}: {error!r}"
            raise errors.Unreachable(msg, code=0) from error


def _open(line: bytes) -> wire.Told:
    try:
        return wire.told.decode(line)
    except msgspec.DecodeError as error:
        msg = f"the watch said what is no event, {line[:80]!r}: {error}"
        raise errors.Unreachable(msg, code=0) from None


def _selected(selector: str, name: str) -> dict[str, str]:
    """By name too, so that a right to one object by its name is enough."""
    by_label = {"labelSelector": selector} if selector else {}
    return by_label | ({"fieldSelector": f"metadata.name={name}"} if name else {})


def _refusal(answer: aiohttp.ClientResponse, data: bytes) -> errors.KubeError:
    try:
        said = dict(msgspec.json.decode(data))
    except (msgspec.DecodeError, ValueError, TypeError):
        said = {"message": data[:200].decode("utf-8", "replace")}
    wait = answer.headers.get("Retry-After", "")
    seconds = float(wait) if wait.isdecimal() else None
    return errors.of(answer.status, said.get("message", ""), reason=said.get("reason", ""), retry_after=seconds)
