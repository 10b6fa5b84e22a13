"""The package stands alone: the standard library, little of it, and no newer Python than it says."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from sdk_server import ME, Server, ok

import aion_sdk

SOURCE = Path(aion_sdk.__file__).parent
MODULES = sorted(f"aion_sdk.{path.stem}" for path in SOURCE.glob("*.py") if path.stem != "__init__")


def run(code: str, *args: str) -> str:
    """Run code in a Python that sees neither site-packages nor the environment, only the SDK's source."""
    begin = f"import sys; sys.path.insert(0, {str(SOURCE.parent)!r})\n"
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-W", "error", "-c", begin + code, *args],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_nothing_but_the_standard_library_is_imported():
    code = f"import {', '.join(MODULES)}\nprint(*sys.modules)"
    tops = {name.partition(".")[0] for name in run(code).split()}
    assert tops - sys.stdlib_module_names - {"__main__", "aion_sdk"} == set()


def test_a_call_over_the_socket_loads_no_tls_no_signing_no_asyncio_and_nothing_else_that_is_slow(gw: Path):
    code = f"""
from aion_sdk import Agent
assert Agent({ME!r}, sys.argv[1]).syscall("tool.invoke", {{"tool": "web_search"}}) == {{"n": 1}}
print(*sys.modules)
"""
    with Server([ok({"n": 1})], gw) as server:
        loaded = set(run(code, server.url).split())
    slow = {"ssl", "asyncio", "hmac", "hashlib", "secrets", "random", "dataclasses", "inspect", "urllib.parse", "email"}
    assert loaded & slow == set()
    assert len(loaded) < 90, "a bare Python has 30 modules, typing, json and socket bring 40: what else came in?"


def test_the_asyncio_client_is_loaded_when_it_is_named_and_a_wrong_name_is_an_error():
    out = run(
        """
import aion_sdk
print("asyncio" in sys.modules, "AsyncAgent" in aion_sdk.__all__)
from aion_sdk import AsyncAgent
print("asyncio" in sys.modules, AsyncAgent is aion_sdk.AsyncAgent, "ssl" in vars(sys.modules["aion_sdk.dial"]))
try:
    aion_sdk.AsyncAgnet
except AttributeError as error:
    print(error)
"""
    )
    assert out == "False True\nTrue True False\nmodule 'aion_sdk' has no attribute 'AsyncAgnet'\n"


@pytest.mark.parametrize("path", sorted(SOURCE.glob("*.py")), ids=lambda path: path.name)
def test_the_source_is_python_3_10(path: Path):
    ast.parse(path.read_text(), feature_version=(3, 10))


def test_the_public_surface_is_small_and_whole():
    assert sorted(aion_sdk.__all__) == aion_sdk.__all__ == [
        "Agent", "AsyncAgent", "Engine", "Result", "SyscallError", "Usage",
    ]  # fmt: skip
    assert all(isinstance(getattr(aion_sdk, name), type) for name in aion_sdk.__all__)
    assert (SOURCE / "py.typed").exists()


def test_the_classic_example_runs_as_it_is_written():
    example = """
from aion_sdk.agent import Agent
agent = Agent(agent_id="agent://tenantA/researcher-1", kernel_url="http://localhost:8010", secret="TENANT_A_SECRET", tenant="tenantA")
res = agent.syscall("tool.invoke", {"tool": "web_search", "query": "AION-OS Kernel"})
print(res)
"""
    with Server([ok({"items": ["found"]})]) as server:
        out = run(example.replace("localhost:8010", f"localhost:{server.port}"))  # a port that is free, for the test
    assert out == '{\n  "items": [\n    "found"\n  ]\n}\n'
    (request,) = server.seen
    assert request.document["params"] == {"tool": "web_search", "query": "AION-OS Kernel"}
    assert request.headers["x-tenant-id"] == "tenantA"
