"""Ask the API server who a bearer is and what they may do, and remember the answer for a moment.

It stands apart because the kernel judges no token itself: TokenReview says whether it is valid for our audience,
SubjectAccessReview whether RBAC allows. It must never keep a token: the memory is keyed by its hash.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from aion.kernel.cluster import Cluster, Json

WHO_S = 60.0
"""A token that is taken back (its Pod deleted) opens nothing new after a minute."""

REFUSED_S = 10.0
"""A token that was refused may be good soon, where an authenticator starts late; but not be asked about at every try."""

MAY_S = 30.0
REMEMBERED = 10_000
"""Answers of each sort; some 500 bytes each."""

_SERVICE_ACCOUNT = "system:serviceaccount:"
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who a valid token speaks for."""

    username: str
    uid: str
    groups: tuple[str, ...]
    extra: dict[str, tuple[str, ...]]

    @property
    def service_account(self) -> tuple[str, str] | None:
        """Namespace and name, where this is a ServiceAccount."""
        if not self.username.startswith(_SERVICE_ACCOUNT):
            return None
        namespace, _, name = self.username.removeprefix(_SERVICE_ACCOUNT).partition(":")
        return namespace, name

    @property
    def pod(self) -> tuple[str, str]:
        """Name and uid of the Pod that the token was issued to, or empty strings."""
        return self._first(_POD_NAME), self._first(_POD_UID)

    def _first(self, key: str) -> str:
        values = self.extra.get(key, ())
        return values[0] if values else ""


class Memory(Generic[T]):
    """Answers by key, each for its time, the oldest forgotten first when there are too many."""

    def __init__(self, keep_s: float, clock: Callable[[], float]) -> None:
        self._keep_s = keep_s
        self._clock = clock
        self._kept: dict[str, tuple[float, T]] = {}

    def get(self, key: str) -> T | None:
        """Return a fresh answer."""
        until, value = self._kept.get(key, (0.0, None))
        return value if until > self._clock() else None

    def put(self, key: str, value: T, *, keep_s: float | None = None) -> None:
        """Remember an answer, for a time of its own where one is given."""
        self._kept.pop(key, None)
        self._kept[key] = (self._clock() + (self._keep_s if keep_s is None else keep_s), value)
        if len(self._kept) > REMEMBERED:
            del self._kept[next(iter(self._kept))]


class Reviews:
    """TokenReview and SubjectAccessReview with a short memory. A refusal is remembered too, an outage is not."""

    def __init__(self, cluster: Cluster, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._who: Memory[tuple[Bearer | None]] = Memory(WHO_S, clock)
        self._may: Memory[bool] = Memory(MAY_S, clock)

    async def who(self, token: str, *, audience: str | None) -> Bearer | None:
        """Return whom a token speaks for, or None. `audience=None` is the API server's own. Raises ApiError."""
        key = hashlib.sha256(f"{audience}\n{token}".encode()).hexdigest()
        known = self._who.get(key)
        if known is None:
            spec: Json = {"token": token} | ({"audiences": [audience]} if audience else {})
            review = await self._cluster.create(
                "/apis/authentication.k8s.io/v1/tokenreviews",
                {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec},
            )
            known = (_bearer(review.get("status", {}), audience=audience),)
            self._who.put(key, known, keep_s=WHO_S if known[0] else REFUSED_S)
        return known[0]

    async def may_path(self, bearer: Bearer, *, verb: str, path: str) -> bool:
        """Say whether RBAC lets this bearer do `verb` on a URL path. Raises ApiError."""
        return await self._allowed(bearer, {"nonResourceAttributes": {"verb": verb, "path": path}})

    async def _allowed(self, bearer: Bearer, attributes: Json) -> bool:
        key = f"{bearer.username}\n{','.join(bearer.groups)}\n{attributes}"
        known = self._may.get(key)
        if known is None:
            spec: Json = {
                "user": bearer.username,
                "uid": bearer.uid,
                "groups": list(bearer.groups),
                "extra": {name: list(values) for name, values in bearer.extra.items()},
                **attributes,
            }
            review = await self._cluster.create(
                "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec},
            )
            known = bool(review.get("status", {}).get("allowed", False))
            self._may.put(key, known)
        return known


def _bearer(status: Json, *, audience: str | None) -> Bearer | None:
    if not status.get("authenticated"):
        return None
    # An authenticator that ignores audiences answers without them; it must not pass for one that checked.
    if audience and audience not in status.get("audiences", ()):
        return None
    user: Json = status.get("user", {})
    return Bearer(
        username=str(user.get("username", "")),
        uid=str(user.get("uid", "")),
        groups=tuple(user.get("groups") or ()),
        extra={name: tuple(values) for name, values in (user.get("extra") or {}).items()},
    )
