"""The demo's search backend answers in SearxNG's shape, best first."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[3] / "e2e/search/server.py"


@pytest.fixture(scope="module")
def base():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, str(SERVER)], env=os.environ | {"SEARCH_PORT": str(port)}) as process:
        for _ in range(100):
            try:
                get(f"http://127.0.0.1:{port}/healthz")
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def test_it_holds_hundreds_of_documents(base):
    assert get(f"{base}/healthz")["documents"] >= 300


def test_the_best_document_comes_first_in_searxngs_shape(base):
    found = get(f"{base}/search?q=AION-OS%20Kernel%20syscall&format=json")
    assert found["query"] == "AION-OS Kernel syscall"
    assert found["number_of_results"] >= len(found["results"]) == 10
    assert "AION-OS Kernel syscall" in found["results"][0]["title"]
    assert {"title", "url", "content", "engine", "score"} <= found["results"][0].keys()
    scores = [one["score"] for one in found["results"]]
    assert scores == sorted(scores, reverse=True)


def test_nothing_found_is_an_empty_list_and_no_query_is_400(base):
    assert get(f"{base}/search?q=zzzz&format=json")["results"] == []
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(f"{base}/search?format=json")
    assert refused.value.code == 400
    refused.value.close()
