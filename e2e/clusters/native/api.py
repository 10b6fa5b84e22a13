"""The few reads that bringing a cluster up needs, by http.client and the admin's certificate.

kubectl would do as well, but each start of it costs half a second. It must never grow into a client
library: tests and tools use kubectl or the kubernetes package.
"""

import http.client
import json
import ssl
from typing import Any

from clusters.native.layout import Layout


class Api:
    """The API server as the cluster's admin sees it."""

    def __init__(self, layout: Layout):
        self._port = layout.api_port
        self._tls = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
        self._tls.load_cert_chain(layout.pki / "admin.crt", layout.pki / "admin.key")

    def ready(self) -> bool:
        return self.status("/readyz") == 200

    def status(self, path: str) -> int | None:
        """Return the HTTP status of a GET, None where nobody answers."""
        try:
            return self._request(path)[0]
        except (OSError, http.client.HTTPException):
            return None

    def get(self, path: str) -> dict[str, Any] | None:
        """Return the object, or None for any answer that is not 200."""
        try:
            status, body = self._request(path)
        except (OSError, http.client.HTTPException):
            return None
        return json.loads(body) if status == 200 else None

    def _request(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, context=self._tls, timeout=10)
        try:
            connection.request("GET", path, headers={"Accept": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
