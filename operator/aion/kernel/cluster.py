"""The API server, as far as the kernel needs it: get, list, watch and create, over aiohttp.

It stands apart because the kernel must stay small and must not carry a generated client: four verbs and JSON are all
it uses. It must never write an object that is kept: `create` serves reviews only.
"""

import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import aiohttp
import msgspec

TOKEN_REREAD_S = 60.0
"""A projected token is rotated at 80 % of its hour; the kubelet swaps the file, we look once a minute."""

PAGE = 500
WATCH_S = 290
"""The server ends a watch after this; below the five minutes at which some load balancers cut an idle connection."""

EVENT_BYTES = 4 << 20
"""No object is larger: etcd takes 1.5 MiB, and JSON is at most somewhat larger than what it stores."""

Json = dict[str, Any]

T = TypeVar("T")


class ApiError(Exception):
    """The API server refused or failed: `status` is HTTP's, 0 where none came."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the API server answered {status}: {message}" if status else f"no API server: {message}")
        self.status = status

    @property
    def gone(self) -> bool:
        """The resource version is too old: list again."""
        return self.status == 410


class ListMeta(msgspec.Struct, frozen=True):
    """Where a list stands."""

    resource_version: str = msgspec.field(name="resourceVersion", default="")
    next_page: str = msgspec.field(name="continue", default="")


class ObjectList(msgspec.Struct, frozen=True):
    """One page of a list."""

    metadata: ListMeta
    items: list[Json] = msgspec.field(default_factory=list)


class WatchEvent(msgspec.Struct, frozen=True):
    """One line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""

    type: str
    object: Json


class Cluster(Protocol):
    """What the kernel asks of an API server."""

    async def get(self, path: str) -> Json | None:
        """Return an object, or None where there is none."""

    async def create(self, path: str, body: Json) -> Json:
        """Send a review and return it with its status."""

    async def list(self, path: str, *, page: str = "") -> ObjectList:
        """Return one page of a list."""

    def watch(self, path: str, *, since: str) -> AsyncIterator[WatchEvent]:
        """Yield events after a resource version until the server ends the watch."""


class ApiServer:
    """A `Cluster` reached by URL, CA file and token file, as every Pod finds them."""

    def __init__(self, url: str, *, token_file: Path, ca_file: Path | None) -> None:
        self._url = url.rstrip("/")
        self._token_file = token_file
        self._token = ("", 0.0)
        context = ssl.create_default_context(cafile=str(ca_file)) if ca_file and url.startswith("https") else True
        self._connector = aiohttp.TCPConnector(ssl=context, limit=64)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            timeout=aiohttp.ClientTimeout(total=30, sock_connect=5),
            headers={"User-Agent": "aion-kernel", "Accept": "application/json"},
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def get(self, path: str) -> Json | None:
        """Return an object, or None where there is none."""
        try:
            return _decoded(await self._ask("GET", path), Json)
        except ApiError as refused:
            if refused.status == 404:
                return None
            raise

    async def create(self, path: str, body: Json) -> Json:
        """Send a review and return it with its status."""
        return _decoded(await self._ask("POST", path, msgspec.json.encode(body)), Json)

    async def list(self, path: str, *, page: str = "") -> ObjectList:
        """Return one page of a list."""
        query = {"limit": str(PAGE), **({"continue": page} if page else {})}
        return _decoded(await self._ask("GET", path, query=query), ObjectList)

    async def watch(self, path: str, *, since: str) -> AsyncIterator[WatchEvent]:
        """Yield events after a resource version until the server ends the watch."""
        query = {
            "watch": "1",
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_S),
        }
        # A bookmark comes about once a minute, so a connection that is silent for longer than two is dead.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=150)
        try:
            async with self._session.get(
                self._url + path, params=query, timeout=timeout, headers=self._bearer()
            ) as answer:
                await _raise_unless_ok(answer)
                rest = b""
                async for chunk in answer.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    if len(rest) > EVENT_BYTES:
                        raise ApiError(0, f"a watch event of more than {EVENT_BYTES} bytes on {path}")
                    for line in lines:
                        if line:
                            yield msgspec.json.decode(line, type=WatchEvent)
                if rest:
                    raise ApiError(0, f"the watch on {path} broke off in the middle of an event")
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as failed:
            raise ApiError(0, f"{type(failed).__name__}: {failed}") from failed

    async def _ask(
        self, method: str, path: str, body: bytes | None = None, query: dict[str, str] | None = None
    ) -> bytes:
        headers = self._bearer() | ({"Content-Type": "application/json"} if body is not None else {})
        try:
            async with self._session.request(
                method, self._url + path, data=body, params=query, headers=headers
            ) as answer:
                await _raise_unless_ok(answer)
                return await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as failed:
            raise ApiError(0, f"{type(failed).__name__}: {failed}") from failed

    def _bearer(self) -> dict[str, str]:
        token, read_at = self._token
        if not token or time.monotonic() - read_at > TOKEN_REREAD_S:
            try:
                token = self._token_file.read_text().strip()
            except OSError as missing:
                if not token:
                    raise ApiError(0, f"no token to ask with: {missing}") from missing
            self._token = (token, time.monotonic())
        return {"Authorization": f"Bearer {token}"}


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as garbled:  # something in between that answers for the API server
        raise ApiError(0, f"an answer that is not {kind.__name__}: {garbled}") from None


async def _raise_unless_ok(answer: aiohttp.ClientResponse) -> None:
    if answer.status < 400:
        return
    text = await answer.text()
    try:
        message = str(msgspec.json.decode(text, type=Json).get("message", text))
    except msgspec.DecodeError:
        message = text
    raise ApiError(answer.status, message[:300])
