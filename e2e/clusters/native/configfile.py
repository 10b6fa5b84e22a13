"""Writing a component's configuration: only where it differs, for kube-proxy ends itself when its file is touched."""

from pathlib import Path


def write(path: Path, text: str) -> None:
    """Have the file hold this text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
