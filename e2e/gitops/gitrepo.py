"""A git repository on this machine, as a team would keep its manifests in: written, committed, and read by Argo CD by its path.

Apart from Argo CD because people write it and Argo CD only reads. It must never need a server: a `file://` address is enough for a machine of one's own.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any


class Repository:
    """One branch, `main`."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True)
        self._git("init", "--quiet", "--initial-branch=main")

    @property
    def url(self) -> str:
        """Where Argo CD fetches it."""
        return f"file://{self.folder}"

    def commit(self, why: str, documents: dict[str, dict[str, Any] | None]) -> str:
        """Write each document to its path (None deletes it) and commit; answers the revision."""
        for path, document in documents.items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if document is None:
                target.unlink()
            else:
                target.write_text(json.dumps(document, indent=2))
        return self._commit(why)

    def copy(self, why: str, source: Path, path: str) -> str:
        """Copy a folder into the repository and commit; answers the revision."""
        shutil.copytree(source, self.folder / path)
        return self._commit(why)

    def _commit(self, why: str) -> str:
        self._git("add", "--all")
        self._git("-c", "user.name=e2e", "-c", "user.email=e2e@example.com", "commit", "--quiet", "-m", why)
        return self._git("rev-parse", "HEAD")

    def _git(self, *words: str) -> str:
        done = subprocess.run(["git", "-C", str(self.folder), *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(f"git {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout.strip()
