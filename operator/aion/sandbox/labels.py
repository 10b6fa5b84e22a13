"""This node's labels at the API server: read some, merge-patch some, by the standard library and the Pod's own token.

Apart from the loop because it is the only thing here that speaks to the cluster. It must never touch a label outside
`seccomp.aion.os/`, and never keep a token: kubelet rotates the file.
"""

import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from aion.sandbox import errors

TIMEOUT_S = 4.0  # below the period of 5 s: a hanging server must not stop the disk from healing for long
PREFIX = "seccomp.aion.os/"


@dataclass(frozen=True)
class NodeLabels:
    """The labels of one node below `seccomp.aion.os/`."""

    node: str
    api_server: str
    service_account: Path

    def read(self) -> Mapping[str, str]:
        """Our labels as the API server has them. Raises ClusterUnreachable."""
        metadata = self._call("GET").get("metadata")
        labels = metadata.get("labels") if isinstance(metadata, dict) else None
        return {str(k): str(v) for k, v in (labels or {}).items() if str(k).startswith(PREFIX)}

    def write(self, changes: Mapping[str, str | None]) -> None:
        """Set labels, or take away those that are None. Raises ClusterUnreachable, ValueError for a foreign label."""
        if foreign := [key for key in changes if not key.startswith(PREFIX)]:
            raise ValueError(f"only labels below {PREFIX} are ours, got {foreign}")
        self._call("PATCH", json.dumps({"metadata": {"labels": dict(changes)}}).encode())

    def _call(self, method: str, body: bytes | None = None) -> Mapping[str, object]:
        url = f"{self._server()}/api/v1/nodes/{quote(self.node, safe='')}"
        headers = {"Accept": "application/json", "Content-Type": "application/merge-patch+json"}
        try:
            token = (self.service_account / "token").read_text().strip()
            headers["Authorization"] = f"Bearer {token}"
            request = urllib.request.Request(url, data=body, method=method, headers=headers)  # noqa: S310  (our own setting)
            tls = (
                ssl.create_default_context(cafile=str(self.service_account / "ca.crt"))
                if url.startswith("https:")
                else None
            )
            with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=tls) as answer:  # noqa: S310  (the same)
                document = json.load(answer)
        except urllib.error.HTTPError as error:
            reason = error.read(300).decode(errors="replace")
            error.close()
            raise errors.ClusterUnreachable(f"{method} node {self.node}: HTTP {error.code}: {reason}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise errors.ClusterUnreachable(f"{method} node {self.node}: {error}") from error
        if not isinstance(document, dict):
            raise errors.ClusterUnreachable(f"{method} node {self.node}: expected a JSON object")
        return document

    def _server(self) -> str:
        if self.api_server:
            return self.api_server.rstrip("/")
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise errors.ClusterUnreachable("KUBERNETES_SERVICE_HOST is not set: run in a Pod, or set AION_API_SERVER")
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
