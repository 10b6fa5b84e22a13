"""Where the kernel is: `unix:///run/aion/gw.sock`, `http://host:8010` or `https://host/prefix`.

Apart because a wrong address deserves a good message. It must never guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Address:
    """A parsed kernel_url; `path` for a unix socket, else host and port."""

    path: str = ""
    host: str = ""
    port: int = 0
    tls: bool = False
    prefix: str = ""

    @property
    def is_unix(self) -> bool:
        """Whether this is the socket in the agent's own Pod."""
        return bool(self.path)

    @property
    def host_header(self) -> str:
        """What HTTP's Host says."""
        if self.is_unix:
            return "gateway"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return (
            f"unix://{self.path}"
            if self.is_unix
            else f"http{'s' if self.tls else ''}://{self.host_header}{self.prefix}"
        )


def parse(url: str) -> Address:
    """Raises ValueError with what was expected."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError(f"kernel_url: expected unix:///absolute/path, got {url!r}")
        return Address(path=parts.path)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"kernel_url: expected unix:///path, http://host:port or https://host, got {url!r}")
    if parts.username or parts.query or parts.fragment:
        raise ValueError("kernel_url: user, query and fragment have no place there")
    tls = parts.scheme == "https"
    port = parts.port if parts.port is not None else (443 if tls else 80)
    return Address(host=parts.hostname, port=port, tls=tls, prefix=parts.path.rstrip("/"))
