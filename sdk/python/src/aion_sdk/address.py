"""Where the kernel is: `unix:///run/aion/gw.sock`, `http://host:8010` or `https://host/prefix`.

Apart because a wrong address deserves a good message, at once. It must never guess, and never let a character through
that would mean something in a request line.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_PATH = 107  # bytes in sun_path, less its final zero


class Address(NamedTuple):
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
        if self.is_unix:
            return f"unix://{self.path}"
        return f"http{'s' if self.tls else ''}://{self.host_header}{self.prefix}"


def parse(url: str) -> Address:
    """Raises ValueError with what was expected."""
    if not url.isprintable() or " " in url:
        raise ValueError(f"kernel_url: expected no spaces or control characters, got {url!r}")
    if url.startswith("unix:"):
        return _unix(url)
    from urllib.parse import urlsplit  # not for the socket in a Pod: it takes longer to load than all of this

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"kernel_url: {error} in {url!r}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError(f"kernel_url: expected unix:///path, http://host:port or https://host, got {url!r}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("kernel_url: user, query and fragment have no place there")
    if not url.isascii():
        raise ValueError(f"kernel_url: expected ASCII (xn--… for a host, %… in a path), got {url!r}")
    tls = parts.scheme == "https"
    return Address(host=parts.hostname, port=port or (443 if tls else 80), tls=tls, prefix=parts.path.rstrip("/"))


def _unix(url: str) -> Address:
    path = url[len("unix://") :] if url.startswith("unix:///") else ""
    if not path:
        raise ValueError(f"kernel_url: expected unix:///absolute/path, got {url!r}")
    if (size := len(path.encode())) > MAX_PATH:
        raise ValueError(f"kernel_url: a socket's path has at most {MAX_PATH} bytes, got {size}: {path!r}")
    return Address(path=path)
