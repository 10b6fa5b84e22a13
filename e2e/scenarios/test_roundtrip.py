"""An agent in its Pod asks a tool 200 times, and every answer has its record in the kernel's event stream."""

import statistics

from installation.kernel import Kernel
from installation.tenancy import Tenancy

CALLS = 200
P95_MS = 2500

ASK = f"""
for n in range({CALLS}):
    began = time.perf_counter()
    try:
        result = agent.syscall("tool.invoke", {{"tool": "web_search", "query": "operating system"}})
        say("ok", ms=(time.perf_counter() - began) * 1000, audit_id=result.audit_id, items=len(result["items"]))
    except errors.SyscallError as error:
        say("failed", error=str(error))
"""


def test_roundtrip_of_200_syscalls_each_with_its_record_in_the_event_stream(tenant: Tenancy, kernel: Kernel):
    tenant.sample("web-search")
    tenant.agent("asker", ASK, capabilities={"network": True, "syscalls": ["tool.invoke"]})
    tenant.wait("agent/asker")
    said = tenant.said("asker")
    answered = [each for each in said if each["what"] == "ok"]

    assert [each for each in said if each["what"] == "failed"] == []
    assert len(answered) == CALLS
    assert all(each["items"] > 0 for each in answered)
    times = sorted(each["ms"] for each in answered)
    p95 = statistics.quantiles(times, n=20)[-1]
    print(
        f"\nroundtrip: p50 {statistics.median(times):.1f} ms, p95 {p95:.1f} ms, max {times[-1]:.1f} ms over {CALLS} calls"
    )
    assert p95 <= P95_MS

    wanted = {each["audit_id"] for each in answered}
    missing = set(wanted)
    for event in kernel.events("kernel.syscalls", since=0):
        assert event["type"] != "gap"
        missing.discard(event.get("audit_id"))
        if not missing:
            break
    assert missing == set()
    one = kernel.audit(answered[-1]["audit_id"])
    assert (one["tenant"], one["syscall"], one["decision"], one["subject"]) == (
        tenant.name,
        "tool.invoke",
        "allow",
        "web_search",
    )
