"""The gateway from outside: what an agent, a kubelet and a kernel see of it."""

import asyncio
import json
import signal
from pathlib import Path

import pytest
from gateway_process import ME, agent, free_ports, granted, pair, running

from aion.api import channel
from aion.api.grant import Limits
from aion.gateway.testing import FakeKernel


async def test_a_refused_syscall_names_rule_and_revision_and_its_record_reaches_the_kernel(
    launch: Path, tmp_path: Path
):
    refused = {"capability:network": "agent.spec.capabilities.network: false"}
    async with pair(launch, tmp_path, granted(refused=refused)) as (kernel, gateway), agent(launch, gateway):
        assert (await gateway.get("/readyz"))[0] == 200
        for over in ("unix", "tcp"):
            status, answer = await gateway.syscall("net.fetch", over=over, params={"url": "http://example.org/"})
            assert (status, answer["error"]["code"]) == (403, "E_CAPABILITY")
            assert answer["error"]["rule"] == "capabilities.network@rev7: agent.spec.capabilities.network: false"
        async with asyncio.timeout(5):
            records = await kernel.until(2)
    assert [record.audit_id for record in records][-1] == answer["audit_id"]
    assert {record.decision for record in records} == {"deny"}
    assert kernel.tokens == ["Bearer a-token"]
    assert kernel.hellos[0].agent_id == ME


async def test_nobody_begins_before_there_is_a_grant_and_the_pod_is_not_ready(launch: Path, tmp_path: Path):
    kernel = FakeKernel(None)
    kernel.acknowledging = False  # so that the journal keeps what it wrote
    async with kernel.serving(), running(launch, tmp_path, kernel.url) as gateway:
        async with agent(launch, gateway) as process:
            status, why = await gateway.get("/readyz")
            assert (status, why) == (
                503,
                "the kernel has not granted this agent anything yet: see this container's log\n",
            )
            status, answer = await gateway.syscall("tool.invoke")
            assert (status, answer["error"]["code"]) == (503, "E_UNAVAILABLE")
            assert (tmp_path / "audit.journal").read_text().count("E_UNAVAILABLE") == 1
            await kernel.send(channel.Granted(granted()))
            assert (await gateway.get("/readyz"))[0] == 200
            assert process.returncode is None


async def test_the_pod_is_ready_for_as_long_as_the_agent_lives(launch: Path, tmp_path: Path):
    async with pair(launch, tmp_path) as (_, gateway):
        async with agent(launch, gateway):
            assert (await gateway.get("/readyz"))[0] == 200
        async with asyncio.timeout(5):
            while (answer := await gateway.get("/readyz"))[0] == 200:  # it hears of the end by the connection's
                await asyncio.sleep(0.01)
        assert answer == (503, "the agent's process has not been admitted: see the log of container agent\n")


async def test_sigterm_waits_for_the_agent_and_serves_it_until_then(launch: Path, tmp_path: Path):
    async with pair(launch, tmp_path) as (kernel, gateway):
        async with agent(launch, gateway):
            assert (await gateway.get("/readyz"))[0] == 200
            gateway.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.2)
            status, answer = await gateway.syscall("nonsense")
            assert (status, answer["error"]["code"]) == (404, "E_NO_SYSCALL")
            assert gateway.process.returncode is None
        async with asyncio.timeout(3):
            assert await gateway.process.wait() == 0
        assert [record.code for record in kernel.records] == ["E_NO_SYSCALL"]


async def test_without_an_agent_sigterm_is_the_end_at_once(launch: Path, tmp_path: Path):
    async with pair(launch, tmp_path) as (_, gateway):
        await gateway.get("/healthz")
        gateway.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(2):
            assert await gateway.process.wait() == 0


async def test_it_goes_on_without_the_kernel_until_the_grants_own_deadline_and_loses_no_record(
    launch: Path, tmp_path: Path
):
    kernel = FakeKernel(granted(offline_s=1))
    async with running(launch, tmp_path, f"http://127.0.0.1:{(port := free_ports(1)[0])}") as gateway:
        async with kernel.serving(port=port), agent(launch, gateway):
            assert (await gateway.get("/readyz"))[0] == 200
            assert (await gateway.syscall("tool.invoke", params={"tool": "x"}))[1]["error"]["code"] == "E_NO_TOOL"
        assert (await gateway.syscall("tool.invoke", params={"tool": "x"}))[1]["error"]["code"] == "E_NO_TOOL"
        await asyncio.sleep(1.2)
        status, answer = await gateway.syscall("tool.invoke", params={"tool": "x"})
        assert (status, answer["error"]["code"]) == (503, "E_UNAVAILABLE")
        assert "out of touch for more than 1 s" in answer["error"]["message"]
        async with kernel.serving(port=port), asyncio.timeout(10):
            records = await kernel.until(3)
            assert [record.n for record in records] == [1, 2, 3]
            while (await gateway.syscall("tool.invoke", params={"tool": "x"}))[0] == 503:
                await asyncio.sleep(0.05)


async def test_a_revoked_grant_lets_nothing_through(launch: Path, tmp_path: Path):
    async with pair(launch, tmp_path) as (kernel, gateway), agent(launch, gateway):
        assert (await gateway.get("/readyz"))[0] == 200
        await kernel.send(channel.Revoked("there is no Agent researcher any more"))
        async with asyncio.timeout(5):
            while (await gateway.syscall("tool.invoke", params={"tool": "x"}))[1]["error"]["code"] != "E_POLICY":
                await asyncio.sleep(0.02)


async def test_another_uid_gets_one_refusal_and_nothing_else(launch: Path, tmp_path: Path):
    import subprocess

    probe = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.argv[2].encode().replace(b'|',b'\\r\\n')); print(s.recv(4096).decode())"
    async with pair(launch, tmp_path) as (kernel, gateway):
        await gateway.get("/healthz")
        tmp_path.chmod(0o755)
        for folder in tmp_path.parents:
            if folder.stat().st_mode & 0o077 == 0 and "pytest" in str(folder):
                folder.chmod(0o755)
        done = await asyncio.to_thread(
            subprocess.run,
            ["/usr/bin/python3", "-c", probe, gateway.socket, "POST /v1/syscall/tool.invoke HTTP/1.1|Host: x|Content-Length: 2||{}"],
            capture_output=True, text=True, user=65534, group=65534, timeout=10, check=True,
        )  # fmt: skip
        assert "403" in done.stdout.splitlines()[0]
        assert json.loads(done.stdout.splitlines()[-1])["error"]["rule"] == "identity.peer"
        assert kernel.records == []


async def test_a_body_over_the_limit_is_refused_before_it_is_read_whole(launch: Path, tmp_path: Path):
    small = granted(limits=Limits(max_body_bytes=4096))
    async with pair(launch, tmp_path, small) as (kernel, gateway):
        async with agent(launch, gateway):
            assert (await gateway.get("/readyz"))[0] == 200
            status, answer = await gateway.syscall("tool.invoke", params={"tool": "x", "text": "a" * 500_000})
        assert (status, answer["error"]["code"]) == (400, "E_BAD_REQUEST")
        assert "limits.max_body_bytes" in answer["error"]["message"]
        async with asyncio.timeout(5):
            assert (await kernel.until(1))[0].code == "E_BAD_REQUEST"


async def test_the_pods_address_serves_no_syscall_and_the_agents_no_metrics(launch: Path, tmp_path: Path):
    async with pair(launch, tmp_path) as (_, gateway):
        assert (await gateway.get("/healthz"))[0] == 200
        assert (await gateway.get("/v1/syscall/tool.invoke"))[0] == 404
        assert (await gateway.get("/metrics", port=gateway.tcp))[0] == 404
        status, page = await gateway.get("/metrics")
        assert status == 200
        assert "aion_kernel_syscall_latency_ms" in page


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"AION_AGENT_ID": "researcher"}, "got agent id 'researcher'"),
        ({"AION_JOURNAL": "/proc/nowhere"}, "the gateway cannot start"),
    ],
)
async def test_what_it_cannot_run_with_it_says_and_leaves(
    launch: Path, tmp_path: Path, env: dict[str, str], said: str, capfd
):
    async with running(launch, tmp_path, "http://127.0.0.1:1", **env) as gateway:
        async with asyncio.timeout(10):
            assert await gateway.process.wait() in (69, 78)
    assert said in capfd.readouterr().err
