"""The API server's audit log: which writes a contender sent, counted by the server and not by itself.

Apart because each contender would count differently. A write that was refused counts too: it cost the same.
"""

import json
from collections import Counter
from pathlib import Path


class Audit:
    """One user's writes; `since` marks are offsets into the file."""

    def __init__(self, log: Path, user: str) -> None:
        self._log = log
        self._user = user

    def mark(self) -> int:
        """Where the log ends now."""
        return self._log.stat().st_size if self._log.exists() else 0

    def since(self, mark: int) -> Counter[str]:
        """Writes from there on, by `verb resource[/subresource]`, with the answer's code where it was no success."""
        found: Counter[str] = Counter()
        if not self._log.exists():
            return found
        with self._log.open("rb") as file:
            file.seek(mark)
            for line in file:
                event = json.loads(line)
                target = event.get("objectRef", {})
                if (
                    event["user"]["username"] != self._user
                    or event["stage"] != "ResponseComplete"
                    or target.get("resource") == "leases"
                ):
                    continue
                name = "/".join(filter(None, (target.get("resource", "?"), target.get("subresource"))))
                code = event.get("responseStatus", {}).get("code", 0)
                found[f"{event['verb']} {name}" + (f" ({code})" if code >= 300 else "")] += 1
        return found
