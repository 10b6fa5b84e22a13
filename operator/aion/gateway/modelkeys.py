"""The keys of model backends, in the files that the kubelet mounts into this container alone.

Apart from `keys`, which signs for tools, because these belong to providers. A file is read anew when it is another one:
the kubelet renews a Secret by changing what its names point at, so a rotated key is in force within a minute, without a
restart. It must never log a key.
"""

from pathlib import Path

_MOST = 16 << 10


class ModelKeys:
    """A folder of key files: the name is the backend's, or what its `key` says; the content is the key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[tuple[int, int, int], str]] = {}

    def key(self, name: str) -> str:
        """The key of this name; empty where there is none."""
        path = self._folder / name
        try:
            now = path.stat()
            which = (now.st_mtime_ns, now.st_ino, now.st_size)
            known = self._known.get(name)
            if known is None or known[0] != which:
                with path.open(encoding="utf-8") as file:
                    known = self._known[name] = (which, file.read(_MOST).strip())
        except (OSError, ValueError):
            self._known.pop(name, None)
            return ""
        return known[1]
