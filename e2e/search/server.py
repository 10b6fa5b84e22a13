#!/usr/bin/env python3
"""A small search server that answers as SearxNG does: the backend of `web_search` in tests and the demo.

It stands apart from AION-OS, needs the standard library only, and ranks documents.jsonl by BM25 (k1 = 1.2, b = 0.75;
Robertson and Zaragoza, 2009). It must never reach the network: what it finds is what lies beside it.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

K1, B = 1.2, 0.75
PAGE = 10
WORD = re.compile(r"[a-z0-9]+")


def words(text: str) -> list[str]:
    """Split into lower-case words, plural endings off."""
    return [
        w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith("ss") else w for w in WORD.findall(text.lower())
    ]


class Index:
    """Documents ranked against a query."""

    def __init__(self, documents: list[dict[str, str]]) -> None:
        self.documents = documents
        # a title's word says more than a body's: it counts twice
        self._counts = [Counter(words(f"{d['title']} {d['title']} {d['content']}")) for d in documents]
        self._lengths = [counts.total() for counts in self._counts]
        self._average = sum(self._lengths) / max(1, len(self._lengths))
        self._holders = Counter(word for counts in self._counts for word in counts)

    def search(self, query: str) -> list[tuple[float, dict[str, str]]]:
        """Rank the documents that hold any word of the query, best first."""
        total = len(self.documents)
        scored = []
        for document, counts, length in zip(self.documents, self._counts, self._lengths, strict=True):
            score = 0.0
            for word in set(words(query)) & counts.keys():
                held = self._holders[word]
                rarity = math.log(1 + (total - held + 0.5) / (held + 0.5))
                tf = counts[word]
                score += rarity * tf * (K1 + 1) / (tf + K1 * (1 - B + B * length / self._average))
            if score > 0:
                scored.append((score, document))
        return sorted(scored, key=lambda one: (-one[0], one[1]["url"]))


def answer(index: Index, query: str, page: int) -> dict[str, object]:
    """Shape one page as SearxNG's format=json."""
    found = index.search(query)
    results = [
        {**document, "engine": "local", "engines": ["local"], "score": round(score, 4), "category": "general"}
        for score, document in found[(page - 1) * PAGE : page * PAGE]
    ]
    empty: dict[str, object] = {"answers": [], "corrections": [], "infoboxes": [], "suggestions": []}
    return {"query": query, "number_of_results": len(found), "results": results, **empty, "unresponsive_engines": []}


def handler(index: Index) -> type[BaseHTTPRequestHandler]:
    """Bind the index to a request handler."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            asked = parse_qs(url.query)
            query = asked.get("q", [""])[0].strip()
            page = asked.get("pageno", ["1"])[0]
            if url.path == "/healthz":
                self.reply(200, {"status": "ok", "documents": len(index.documents)})
            elif url.path != "/search":
                self.reply(404, {"error": "expected /search?q=…&format=json"})
            elif not query or not page.isdigit() or page == "0" or asked.get("format", ["json"]) != ["json"]:
                self.reply(400, {"error": "expected q, format=json and pageno from 1"})
            else:
                self.reply(200, answer(index, query, int(page)))

        def reply(self, status: int, document: dict[str, object]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return Handler


def read(path: Path) -> list[dict[str, str]]:
    """Read one document a line."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def main() -> None:
    """Serve until SIGTERM."""
    index = Index(read(Path(os.environ.get("SEARCH_DOCUMENTS", Path(__file__).with_name("documents.jsonl")))))
    server = ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("SEARCH_PORT", "8080"))), handler(index))
    # shutdown() waits for the loop it is called under: it must run beside it
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


if __name__ == "__main__":
    main()
