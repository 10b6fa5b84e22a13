"""The samples are what a user may write; the invalid ones are what a user may get wrong."""

import inspect
import json
import runpy
import signal
import socketserver
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import sample_files as samples

from aion.api import classic, errors, syscall
from aion.api.tool import Tool
from aion.controller import accept, views
from aion.controller.settings import Settings

QUICK_START = ("researcher", "web-search", "word-count", "dates")


def files(paths):
    return [pytest.param(path, id=path.stem) for path in paths]


@pytest.mark.parametrize("path", files(samples.GOOD))
def test_a_sample_is_taken_as_it_is_written(path):
    assert samples.ours(path)
    for document in samples.ours(path):
        assert samples.problems(document) == ""
        assert samples.KINDS[document["kind"]].from_file(document).document() == document


@pytest.mark.parametrize("path", files(samples.INVALID))
def test_an_invalid_sample_says_what_is_wrong_and_is_refused(path):
    comment, *rest = path.read_text().splitlines()
    assert comment.startswith("# ")
    assert len(comment) > 20
    assert not any(line.startswith("#") for line in rest)
    (document,) = samples.ours(path)
    assert samples.problems(document)
    assert path.stem.startswith(document["kind"].lower())


def test_there_is_a_sample_of_every_kind_and_of_many_mistakes():
    kinds = {document["kind"] for path in samples.GOOD for document in samples.ours(path)}
    assert kinds == set(samples.KINDS)
    assert {path.stem for path in samples.GOOD} >= {*QUICK_START, "agent", "tool", "tenant", "sandboxprofile", "policy"}
    assert len(samples.INVALID) >= 25
    comments = [path.read_text().splitlines()[0] for path in samples.INVALID]
    assert len(set(comments)) == len(comments)


@pytest.mark.parametrize("path", files(samples.GOOD))
def test_the_controller_accepts_every_agent_and_tool_of_the_samples(path):
    for document in samples.ours(path):
        meta = {"namespace": "tenant-a", "uid": "u", "generation": 1, **document["metadata"]}
        root = views.root({**document, "metadata": meta})
        if document["kind"] in ("Agent", "Tool"):
            take = accept.agent if document["kind"] == "Agent" else accept.tool
            assert not isinstance(take(root, settings=Settings(), profiles={"sealed": "ab" * 32}), accept.Refusal)


def test_the_samples_tools_are_the_ones_that_sdk_tools_builds():
    tools = samples.ROOT / "sdk/tools"
    (dates,) = samples.ours(samples.SAMPLES / "dates.yaml")
    entry = Tool.from_file(dates).spec.parsed_entry
    function = runpy.run_path(str(tools / (entry.module.replace(".", "/") + ".py")))[entry.function]
    assert list(inspect.signature(function).parameters) == dates["spec"]["io"]["input"]["jsonSchema"]["required"]
    for name in ("word-count", "web-search"):
        (document,) = samples.ours(samples.SAMPLES / f"{name}.yaml")
        called = Tool.from_file(document).tool_name
        assert (tools / called / "Cargo.toml").is_file()
        assert called in document["spec"]["entry"]


@pytest.mark.parametrize("name", ["agent", "tool"])
def test_a_classic_sample_is_the_kind_it_says_and_comes_back_whole(name):
    (document,) = samples.documents(samples.SAMPLES / f"classic/{name}.yml")
    made = classic.to_kind(document).document
    assert samples.problems(made) == ""
    back = classic.to_classic(made)
    assert back.notes == ()
    back.document["spec"].get("policy_overrides", {}).get("budget", {}).update(
        usd_max=0.10
    ) if name == "agent" else None
    assert back.document == document


# -- the quick start's agent, run as its Pod runs it

OK = syscall.ok({"items": [{"title": "Sealed"}]}, syscall.Usage(), syscall.Engine("module", "x"), "sc-1")


def refusal(error):
    return error.http_status, syscall.failure(error, syscall.Usage(), "sc-2")


@contextmanager
def gateway(socket: Path, replies):
    """A gateway that gives these replies in turn, the last one for ever."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            seen.append((self.path, asked["params"]))
            status, body = replies.pop(0) if len(replies) > 1 else replies[0]
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

        def address_string(self):
            return "agent"

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    seen = []
    with Server(str(socket), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield seen
        server.shutdown()
        thread.join()


@contextmanager
def agent(tmp_path: Path):
    config, manifest = samples.documents(samples.SAMPLES / "researcher.yaml")
    for name, text in config["data"].items():
        (tmp_path / name).write_text(text)
    argv = samples.KINDS["Agent"].from_file(manifest).spec.argv
    assert argv[0] == "python3"
    env = {"AION_AGENT_ID": "agent://tenant-a/researcher", "AION_GATEWAY_SOCKET": str(tmp_path / "gw.sock")}
    process = subprocess.Popen([sys.executable, *argv[1:]], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_researcher_waits_for_its_tool_prints_one_answer_and_stops_when_told(tmp_path):
    not_yet = refusal(errors.NoSuchTool("not there yet", retry_after_ms=10))
    with gateway(tmp_path / "gw.sock", [not_yet, not_yet, (200, OK)]) as seen, agent(tmp_path) as process:
        word, _, answer = process.stdout.readline().partition(" ")
        assert word == "answer"
        assert {"items": ["Sealed"], "audit_id": "sc-1"}.items() <= json.loads(answer).items()
        assert [path for path, _ in seen] == ["/v1/syscall/tool.invoke"] * 3
        assert seen[-1][1]["tool"] == "web_search"
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


def test_the_researcher_says_which_rule_denied_and_does_not_crash(tmp_path):
    denied = refusal(errors.CapabilityDenied("agent lacks network", rule="capabilities.network@rev1: …"))
    with gateway(tmp_path / "gw.sock", [denied]) as seen, agent(tmp_path) as process:
        line = process.stdout.readline()
        assert line.startswith("no answer: E_CAPABILITY")
        assert "capabilities.network@rev1" in line
        assert len(seen) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


def test_the_researchers_code_is_short_enough_to_copy():
    config, _ = samples.documents(samples.SAMPLES / "researcher.yaml")
    assert len(config["data"]["agent.py"].splitlines()) <= 30
