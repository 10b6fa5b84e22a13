"""The chapter for authors tells the truth: its Python runs as it stands and prints what it says; its names exist."""

import re
from pathlib import Path

import pytest
from sdk_server import ME, Server, failed, ok

from aion_sdk import errors
from aion_sdk.call import ATTEMPTS, IDEMPOTENT
from aion_sdk.caller import TIMEOUT_S

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def gateway(conn, request):
    if request.document["params"]["tool"] == "web_search":
        conn.sendall(ok({"items": [{"title": "AION-OS Kernel", "url": "https://example.org/kernel"}]}))
    else:
        message = f"agent lacks network, needed by tool {request.document['params']['tool']}"
        conn.sendall(failed(403, "E_CAPABILITY", message=message, rule="capabilities.network@rev1"))


def test_every_python_block_runs_in_turn_and_prints_what_is_shown(
    gw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("AION_AGENT_ID", ME)
    monkeypatch.setenv("AION_TENANT", "tenant-a")
    monkeypatch.setenv("AION_KERNEL_URL", f"unix://{gw}")
    with Server([gateway]) as kernel, Server([gateway], gw) as pod:
        author: dict[str, object] = {}
        for (kind, text), (after, shown) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
            if kind == "python":
                exec(compile(text.replace("http://localhost:8010", kernel.url), "README.md", "exec"), author)
                assert capsys.readouterr().out == (shown if after == "output" else "")
        author.clear()
    assert kernel.seen[0].headers["x-tenant-id"] == "tenantA"
    assert len(pod.seen) >= 6
    last = pod.seen[-1].document
    assert last["budget"] == {"usd_max": "0.10", "latency_ms": 2500}
    assert (last["context"]["task_id"], last["context"]["traceparent"][:5]) == ("report-17", "00-4b")


def test_the_blocks_are_all_of_a_kind_that_is_run_or_compared():
    assert {kind for kind, _ in BLOCKS} == {"python", "output"}
    assert sum(kind == "python" for kind, _ in BLOCKS) >= 7


def test_the_table_of_errors_names_each_class_and_code_once():
    table = [line for line in README.splitlines() if line.startswith("| `")]
    classes = [name for line in table for name in re.findall(r"`([A-Z][a-z]\w+)`", line.split("|")[1])]
    codes = [code for line in table for code in re.findall(r"`(E_\w+)`", line.split("|")[2])]
    assert sorted(codes) == sorted(errors.BY_CODE)
    assert sorted(classes) == sorted(set(errors.__all__) - {"SyscallError"})


def test_the_numbers_and_names_about_retries_are_the_codes():
    assert (ATTEMPTS, TIMEOUT_S) == (5, 35)
    assert "five times" in README
    assert "(35," in README
    reading = README[README.index("reading (`") :].partition(")")[0]
    assert set(re.findall(r"`([\w.]+)`", reading)) == IDEMPOTENT
