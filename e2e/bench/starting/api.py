"""The API server over two kinds of kept connections: one to ask, one a watch. Standard library only.

Apart because a measurement in milliseconds cannot start a kubectl for every question. It must never hide what the server
said: an answer that is no success is raised with its message.
"""

import base64
import http.client
import json
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from clusters.failure import Failed
from installation.kubectl import Kubectl

Document = dict[str, Any]
MANAGER = "aion-bench"
_PAUSE_S = 60  # a watch without news is asked for again
_APPLY = "application/apply-patch+yaml"


class Cluster(NamedTuple):
    """Where the API server is, and how one is let in."""

    host: str
    port: int
    tls: ssl.SSLContext
    token: str | None

    def connection(self) -> http.client.HTTPSConnection:
        """A connection, not opened yet."""
        return http.client.HTTPSConnection(self.host, self.port, context=self.tls, timeout=_PAUSE_S + 30)


def cluster(kubectl: Kubectl) -> Cluster:
    """Read the kubeconfig's current context."""
    view = json.loads(kubectl.run("config", "view", "--raw", "--flatten", "--minify", "-o", "json"))
    server, user = view["clusters"][0]["cluster"], view["users"][0]["user"]
    address = urlsplit(server["server"])
    tls = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
    if "client-certificate-data" in user:
        with tempfile.NamedTemporaryFile() as pair:  # ssl takes a client's key from a file only
            pair.write(
                base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"])
            )
            pair.flush()
            tls.load_cert_chain(Path(pair.name))
    return Cluster(address.hostname or "", address.port or 443, tls, user.get("token"))


class Api:
    """One connection, for one thread."""

    def __init__(self, at: Cluster) -> None:
        self._connection = at.connection()
        self._headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {at.token}"} if at.token else {})

    def get(self, path: str) -> Document:
        """Read an object or a list."""
        return self._ask("GET", path)

    def apply(self, path: str, document: Document) -> Document:
        """Server-side apply, as `kubectl apply --server-side` does."""
        target = f"{path}/{document['metadata']['name']}?fieldManager={MANAGER}&force=true"
        return self._ask("PATCH", target, document, kind=_APPLY)

    def delete(self, path: str, *, grace_s: int) -> None:
        """Delete; its children go in the background."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": grace_s,
            "propagationPolicy": "Background",
        }
        self._ask("DELETE", path, options, kind="application/json")

    def watch(self, path: str, since: str) -> Iterator[bytes]:
        """The lines of one watch, each an event; ends when the server ends it."""
        query = f"?watch=1&allowWatchBookmarks=true&timeoutSeconds={_PAUSE_S}&resourceVersion={since}"
        self._connection.request("GET", path + query, headers=self._headers)
        answer = self._connection.getresponse()
        if answer.status != http.client.OK:
            raise Failed(f"watch {path}: {answer.status} {answer.read()[:300].decode(errors='replace')}")
        while line := answer.readline():
            yield line

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _ask(self, method: str, path: str, document: Document | None = None, *, kind: str = "") -> Document:
        headers = self._headers | ({"Content-Type": kind} if kind else {})
        self._connection.request(method, path, json.dumps(document) if document is not None else None, headers)
        answer = self._connection.getresponse()
        said: Document = json.loads(answer.read())
        if not 200 <= answer.status < 300:
            raise Failed(f"{method} {path.partition('?')[0]}: {answer.status} {said.get('message', said)}")
        return said
