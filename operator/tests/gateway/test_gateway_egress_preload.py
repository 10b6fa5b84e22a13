"""Unmodified programs through the real proxy: libaion-net.so on one side of the socket, policy on the other."""

import asyncio
import shutil
import sys
from pathlib import Path

import egress_stage
from egress_stage import here

from tunnel_fixture import Sealed

API = "localhost.localdomain"  # a name to the library, and this machine to the policy

PYTHON = """
import sys, urllib.request
for url in sys.argv[1:]:
    try: print(urllib.request.urlopen(url, timeout=10).read().decode())
    except OSError as error: print(type(getattr(error, "reason", error)).__name__)
"""


async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")
    await writer.drain()


async def run(sealed: Sealed, folder: Path, *argv: str, **env: str) -> str:
    """Standard output of a sealed program whose gateway listens in `folder`."""
    pipe = asyncio.subprocess.PIPE
    env = sealed.environment(folder) | env
    program = await asyncio.create_subprocess_exec(str(sealed.built / "seal"), *argv, env=env, stdout=pipe, stderr=pipe)
    out, _ = await asyncio.wait_for(program.communicate(), 30)
    return out.decode().strip()


async def test_an_unmodified_program_reaches_what_policy_allows_and_leaves_its_record(sealed: Sealed, tmp_path: Path):
    async with egress_stage.host(web) as port, egress_stage.proxy(tmp_path, here(port, name=API)) as stage:
        assert await run(sealed, tmp_path, sys.executable, "-c", PYTHON, f"http://{API}:{port}/") == "hello"
        record = await stage.record()
        assert (record.syscall, record.decision) == ("net.fetch", "allow")


async def test_what_policy_denies_is_permission_denied_to_the_program_and_denied_in_the_audit(
    sealed: Sealed, tmp_path: Path
):
    async with egress_stage.host(web) as port, egress_stage.proxy(tmp_path, here(port, name=API)) as stage:
        urls = (f"http://elsewhere.test:{port}/", f"http://{API}:1/", "http://169.254.169.254/", "http://10.0.0.1/")
        assert await run(sealed, tmp_path, sys.executable, "-c", PYTHON, *urls) == "\n".join(["PermissionError"] * 4)
        assert {record.decision for record in await stage.records(4)} == {"deny"}


async def test_a_host_that_refuses_is_connection_refused(sealed: Sealed, tmp_path: Path):
    async with egress_stage.proxy(tmp_path, here(1, name=API)):
        assert await run(sealed, tmp_path, sys.executable, "-c", PYTHON, f"http://{API}:1/") == "ConnectionRefusedError"


async def test_a_program_whose_own_variables_name_the_proxy_goes_through_it(sealed: Sealed, tmp_path: Path):
    assert shutil.which("curl")
    async with egress_stage.host(web) as port, egress_stage.proxy(tmp_path, here(port, name=API)):
        argv = ("curl", "-sS", "-m", "20", f"http://{API}:{port}/")
        assert await run(sealed, tmp_path, *argv, http_proxy="http://127.0.0.1:3128") == "hello"
