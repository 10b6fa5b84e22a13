"""A kernel's API, as a command asks it: one question at a time, or a stream of events to follow.

Apart from the commands so that they do not care who asks: an operator by a bearer token, or a tenant by its key. By the
standard library alone, so that a command starts at once. It must never show a secret, nor send it anywhere but to the
kernel that was named.
"""

import http.client
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from aion.api import signing

KERNEL = "http://127.0.0.1:8010"
ANSWER_S = 30.0
QUIET_S = 60.0
"""The stream says something every 15 s; silence for so long is a connection that is gone."""

_PORTS = {"http": 80, "https": 443}

HOW = """The kernel is at --kernel or $AION_KERNEL_URL, else http://127.0.0.1:8010, which is where
`kubectl port-forward -n aion-system svc/aion-kernel 8010` brings it. An operator's token is in $AION_TOKEN
(`kubectl create token NAME`, bound to the ClusterRole aion-observer); a tenant's key is in $AION_TENANT and $AION_SECRET,
its id in $AION_KEY_ID."""


class Failed(Exception):  # noqa: N818 - what it is
    """The question was not answered; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel and who asks it."""

    url: str
    token: str = ""
    tenant: str = ""
    secret: str = ""
    key_id: str = "default"

    @classmethod
    def of(cls, url: str | None, environ: Mapping[str, str] = os.environ) -> "Kernel":
        """The kernel that the command line or the environment names."""
        return cls(
            url=(url or environ.get("AION_KERNEL_URL", "") or KERNEL).rstrip("/"),
            token=environ.get("AION_TOKEN", "").strip(),
            tenant=environ.get("AION_TENANT", ""),
            secret=environ.get("AION_SECRET", ""),
            key_id=environ.get("AION_KEY_ID", "") or "default",
        )

    def get(self, path: str, **query: object) -> Any:  # noqa: ANN401 - JSON
        """Ask, and read the answer; raises Failed."""
        connection, answer = self._ask(_target(path, query), timeout_s=ANSWER_S)
        try:
            return json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as broken:
            raise Failed(f"the kernel at {self.url} did not answer {path} whole: {broken}") from None
        finally:
            connection.close()

    def follow(self, path: str, **query: object) -> Iterator[dict[str, Any]]:
        """Follow server-sent events until the stream ends; raises Failed where it breaks."""
        connection, answer = self._ask(_target(path, query), timeout_s=QUIET_S)
        try:
            for line in answer:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
        except (OSError, http.client.HTTPException, ValueError) as broken:
            raise Failed(f"the stream of the kernel at {self.url} broke: {type(broken).__name__} {broken}") from None
        finally:
            connection.close()

    def _ask(self, target: str, *, timeout_s: float) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = self._connection(timeout_s)
        try:
            connection.request("GET", target, headers=self._proof(target))
            answer = connection.getresponse()
            if answer.status == http.client.OK:
                return connection, answer
            said = answer.read()
        except (OSError, http.client.HTTPException) as unreachable:
            connection.close()
            raise Failed(f"the kernel at {self.url} cannot be asked: {unreachable}\n\n{HOW}") from None
        connection.close()
        raise Failed(_refusal(answer.status, said))

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise Failed(f"got the kernel's address {self.url!r}, expected http(s)://host[:port]")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname, parts.port or _PORTS[parts.scheme], timeout=timeout_s)

    def _proof(self, target: str) -> dict[str, str]:
        if self.token:
            return {"Authorization": f"Bearer {self.token}"}
        if not (self.tenant and self.secret):
            raise Failed(f"who asks? Set $AION_TOKEN, or $AION_TENANT and $AION_SECRET.\n\n{HOW}")
        return signing.headers(
            self.secret.encode(),
            method="GET",
            target=target,
            tenant=self.tenant,
            key_id=self.key_id,
            now_ms=time.time_ns() // 1_000_000,
            nonce=secrets.token_urlsafe(18),
        )


def _target(path: str, query: Mapping[str, object]) -> str:
    asked = urlencode({name: value for name, value in query.items() if value not in (None, "", 0)})
    return f"{path}?{asked}" if asked else path


def _refusal(status: int, said: bytes) -> str:
    try:
        error = json.loads(said)["error"]
        return f"the kernel refused: HTTP {status} {error['code']}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        return f"the kernel refused: HTTP {status}"
