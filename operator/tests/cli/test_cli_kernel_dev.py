"""`aionctl kernel dev`: the classic example runs unmodified against it, and nothing is left when it ends."""

import ast
import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aion.api.tool import Tool
from aion.cli import kernel, laptop, localtools, startscreen

ROOT = Path(__file__).resolve().parents[3]
CLASSIC = """\
from aion_sdk import Agent

agent = Agent(
    agent_id="agent://tenantA/researcher-1",
    kernel_url="http://localhost:8010",
    secret="TENANT_A_SECRET",
    tenant="tenantA",
)
res = agent.syscall("tool.invoke", {"tool": "web_search", "query": "AION-OS Kernel"})
print(res)
"""
WEB_SEARCH = """\
apiVersion: aion.os/v1
kind: Tool
metadata: {name: web-search}
spec:
  toolName: web_search
  version: 1.2.0
  entry: wasm:tools/web_search.wasm
  io: {input: {schema: "query:string, limit:int?"}, output: {schema: "items:list"}}
  capabilitiesRequired: [network]
"""
DATES = """\
apiVersion: aion.os/v1
kind: Tool
metadata: {name: dates}
spec: {version: 1.0.0, entry: "python:tools.dates:difference", io: {input: {schema: "start:string, end:string"}}}
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The folder of the sample tools' files, as the tools image has it."""
    out = tmp_path_factory.mktemp("tools")
    done = subprocess.run([str(ROOT / "sdk/tools/build"), str(out)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(done.stderr, pytrace=False)
    return out


@pytest.fixture
def search(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = [sys.executable, str(ROOT / "e2e/search/server.py")]
    with subprocess.Popen(argv, env=os.environ | {"SEARCH_PORT": str(port)}) as process:
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{url}/healthz"))
        yield url
        process.terminate()


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def until(holds, within_s=20.0):
    end = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.02)
    return found


@dataclass
class Dev:
    process: subprocess.Popen
    log: Path
    heard: list = field(default_factory=list)

    def output(self):
        return self.log.read_text()

    def screen(self):
        """The start screen, once it is there; None where the process ended before."""
        return until(lambda: "Ctrl-C ends everything" in self.output() or self.process.poll() is not None)

    @property
    def port(self):
        return int(self.output().partition("http://localhost:")[2].split()[0])

    def children(self):
        pid = self.process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def end(self, number):
        self.process.send_signal(number)
        return self.process.wait(10)


@contextlib.contextmanager
def dev(folder, *options):
    log = folder / f"dev-{time.monotonic_ns()}.log"
    argv = [sys.executable, "-c", "from aion.cli.kernel import app; app()", "dev", *map(str, options)]
    with log.open("wb") as out, subprocess.Popen(argv, stdout=out, stderr=out, cwd=folder) as process:
        running = Dev(process, log)
        try:
            running.screen()
            yield running
        finally:
            if process.poll() is None:
                process.kill()


@contextlib.contextmanager
def dev_on_8010(folder, *options):
    """On the port of the example; on a free one where another program of this machine has that."""
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(dev(folder, *options))
        if running.process.poll() is not None and "another program listens" in running.output():
            running = stack.enter_context(dev(folder, *options, "--port", 0))
        assert running.process.poll() is None, running.output()
        yield running


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def python(program, folder):
    file = folder / "program.py"
    file.write_text(program)
    return subprocess.run([sys.executable, str(file)], capture_output=True, text=True, timeout=30, check=False)


def test_the_classic_example_runs_unmodified_and_so_does_the_one_on_the_screen(tmp_path, built, search):
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "web-search.yaml").write_text(WEB_SEARCH)
    options = ("--tools", tmp_path / "manifests", "--files", built, "--search-url", search)
    with dev_on_8010(tmp_path, *options) as running:
        done = python(CLASSIC.replace("8010", str(running.port)), tmp_path)
        assert done.returncode == 0, done.stderr
        assert "AION-OS Kernel" in done.stdout
        screen = running.output().partition("where it is not there yet):\n")[2].partition("Each syscall")[0]
        assert python(textwrap.dedent(screen), tmp_path).stdout == done.stdout
        for host in ("localhost", "127.0.0.1", *(["[::1]"] if socket.has_dualstack_ipv6() else [])):
            assert answers(f"http://{host}:{running.port}/readyz")
        until(lambda: running.output().count("allow  tool.invoke web_search") == 2)
        assert running.output().count("allow  net.fetch 127.0.0.1:") == 2
        children = running.children()
        assert len(children) == 1
        assert running.end(signal.SIGINT) == 0
        assert running.output().endswith("stopped\n")
        assert all(gone(pid) for pid in children)


def test_what_it_started_dies_with_it_even_when_it_is_killed(tmp_path):
    (tmp_path / "dates.yaml").write_text(DATES)
    options = ("--tools", tmp_path / "dates.yaml", "--files", ROOT / "sdk/tools", "--port", 0)
    with dev(tmp_path, *options, "--key", "acme=word") as running:
        program = (
            CLASSIC.replace("8010", str(running.port)).replace("tenantA", "acme").replace("TENANT_A_SECRET", "word")
        )
        program = program.replace(
            '"tool": "web_search", "query": "AION-OS Kernel"',
            '"tool": "dates", "start": "2026-01-01", "end": "2026-01-08"',
        )
        done = python(program, tmp_path)
        assert '"days": 7' in done.stdout, done.stderr
        assert "word" not in running.output().replace("another", "").replace("the secret that you gave", "")
        (runner,) = running.children()
        running.end(signal.SIGKILL)
        until(lambda: gone(runner), within_s=5)


def test_a_tool_that_can_never_run_says_why_and_disturbs_nobody(tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "web_search.wasm").write_bytes(b"rubbish")
    (tmp_path / "tool.yaml").write_text(f"{WEB_SEARCH}---\n{DATES}")
    with dev(tmp_path, "--tools", tmp_path / "tool.yaml", "--port", 0) as running:
        assert "[web_search] Tool web_search@1.2.0 cannot run: the file is not a WebAssembly module" in running.output()
        done = python(CLASSIC.replace("8010", str(running.port)), tmp_path)
        assert "E_UPSTREAM" in done.stderr
        assert running.end(signal.SIGTERM) == 0


# What it refuses to start with


@pytest.mark.parametrize("key", ["tenantA", "tenantA=", "=secret", "a b=c"])
def test_a_key_that_is_no_pair_is_refused_with_an_example(key):
    done = CliRunner().invoke(kernel.app, ["dev", "--key", key])
    assert done.exit_code == 2
    assert "TENANT=SECRET" in done.output


def test_a_port_that_is_taken_on_either_address_of_localhost_is_said_so():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(laptop.CannotStart, match=rf"another program listens on 127.0.0.1 port {port}.*--port"):
            laptop.listen(port)
    if socket.has_dualstack_ipv6():
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(laptop.CannotStart, match=f"::1 port {port}"):
                laptop.listen(port)
            socket.create_server(("127.0.0.1", port)).close()  # and the first was given back


@pytest.mark.parametrize("url", ["127.0.0.1:8888", "ftp://x", "http://", "http://x:port", "http://UPPER CASE"])
def test_a_search_url_that_is_none_is_refused(url):
    with pytest.raises(laptop.CannotStart):
        laptop.bundle(None, search_url=url)


def test_the_search_servers_host_is_added_to_what_policy_allows(tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text("schema: aion.policy.v1\negress: {allow: [{host: api.example.org}]}\n")
    policy = laptop.bundle(file, search_url="http://127.0.0.1:8888")
    assert [(host.host, host.ports, host.private) for host in policy.bundle.egress.allow] == [
        ("api.example.org", (80, 443), False),
        ("127.0.0.1", (8888,), True),
    ]
    assert laptop.bundle(None, search_url="https://search.example").bundle.egress.allow[0].ports == (443,)


def test_a_policy_that_is_wrong_is_refused_with_path_and_field(tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text("schema: aion.policy.v1\nlimits: {max_concurrency: 0}\n")
    with pytest.raises(laptop.CannotStart, match=r"policy.yaml: limits.max_concurrency"):
        laptop.bundle(file, search_url="")


# Manifests


def read(folder, **over):
    return localtools.read(folder, **{"files": folder, "config": {}, **over})


def test_manifests_of_a_folder_are_tools_whatever_else_lies_there(tmp_path):
    (tmp_path / "a.yaml").write_text(f"{DATES}---\nkind: Agent\napiVersion: aion.os/v1\n")
    (tmp_path / "values.yml").write_text("replicas: 1\n---\n- a list\n---\n")
    (tmp_path / "README.md").write_text("kind: Tool")
    (shelf,) = read(tmp_path).runnable
    assert shelf.tool.name == "dates"
    assert shelf.environment["AION_TOOL_ARGV"].endswith("pytool.py tools.dates difference")


def test_an_mcp_server_is_run_by_its_command_line_and_one_elsewhere_by_nothing(tmp_path):
    local = DATES.replace("python:tools.dates:difference", "mcp:python -m 'my server'")
    remote = DATES.replace("python:tools.dates:difference", "mcp+https://tools.example/mcp").replace("dates", "remote")
    remote = remote.replace("spec: {", "spec: {capabilitiesRequired: [network], ")
    (tmp_path / "a.yaml").write_text(f"{local}---\n{remote}")
    shelf = read(tmp_path)
    assert [each.environment.get("AION_TOOL_ARGV") for each in shelf.runnable] == ["python -m 'my server'", None]


def test_what_cannot_run_here_is_left_out_and_said_why(tmp_path):
    (tmp_path / "a.yaml").write_text(f"{WEB_SEARCH}---\nkind: Tool\nname: classic\n")
    shelf = read(tmp_path)
    assert shelf.runnable == ()
    missing, classic = sorted(shelf.left_out, key=lambda said: ["web", str(tmp_path)[:3]].index(said[:3]))
    assert "there is no file" in missing
    assert "aionctl convert" in classic


def test_a_manifest_that_is_wrong_names_file_field_and_every_problem(tmp_path):
    (tmp_path / "a.yaml").write_text(DATES.replace("1.0.0", "one"))
    (tmp_path / "b.yaml").write_text("kind: [")
    with pytest.raises(localtools.BadTools) as bad:
        read(tmp_path)
    assert len(bad.value.problems) == 2
    assert f"{tmp_path}/a.yaml: spec.version: " in bad.value.problems[0]
    assert f"{tmp_path}/b.yaml cannot be read" in bad.value.problems[1]


def test_a_tools_own_config_wins_over_what_the_command_line_gives(tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "web_search.wasm").touch()
    given = {"web-search": {"searchUrl": "http://given", "more": "1"}}
    (tmp_path / "a.yaml").write_text(f"{WEB_SEARCH}  config: {{searchUrl: http://own}}\n")
    environment = read(tmp_path, config=given).runnable[0].environment
    assert '"config":{"searchUrl":"http://own","more":"1"}' in environment["AION_TOOL"]


# What it says


def sight(*tools, **over):
    policy = laptop.bundle(None, search_url="")
    shown = {"port": 8010, "tenants": ["tenantA"], "secret": "TENANT_A_SECRET", "left_out": [], **over}
    return startscreen.Sight(tools=tools, bundle=policy.bundle, digest=policy.digest, **shown)


def a_tool(text):
    import yaml

    return Tool.from_file(yaml.safe_load(text))


def test_the_example_is_the_classic_one_where_there_is_a_search():
    example = startscreen.example(sight(a_tool(WEB_SEARCH)))
    assert ast.dump(ast.parse(example)) == ast.dump(
        ast.parse(CLASSIC.replace("res = agent.syscall", "print(agent.syscall").replace("})\nprint(res)", "}))"))
    )


def test_another_tools_example_gives_what_it_requires():
    example = startscreen.example(sight(a_tool(DATES.replace("end:string", "end:bool, n:int, list:list?"))))
    assert '{"tool": "dates", "start": "text", "end": True, "n": 1}' in example
    ast.parse(example)


def test_without_tools_the_screen_says_how_to_have_some():
    screen = startscreen.welcome(sight(left_out=["x: no file"]))
    assert "--tools names manifests" in screen
    assert "left out  x: no file" in screen
    assert "no host: --search-url" in screen


def test_a_syscall_is_a_line_and_a_gap_is_none():
    row = (
        b'{"seq":1,"ts":"2026-01-01T10:20:30.000Z","topic":"kernel.syscalls","type":"syscall","syscall":"net.fetch",'
        b'"decision":"deny","audit_id":"sc-1","subject":"x:80","code":"E_POLICY","rule":"egress.allow@rev1: no",'
        b'"latency_ms":1.25}'
    )
    assert startscreen.line(row).split() == [
        "10:20:30", "deny", "net.fetch", "x:80", "1.2", "ms", "sc-1", "E_POLICY", "egress.allow@rev1:", "no",
    ]  # fmt: skip
    assert startscreen.line(b'{"seq":1,"ts":"x","topic":"*","type":"gap","from":1,"to":2}') is None


def test_the_defaults_are_those_of_the_classic_example():
    assert (kernel.DEFAULT_PORT, kernel.DEFAULT_KEY) == (8010, "tenantA=TENANT_A_SECRET")
