"""What cannot run says so on its object, in words for a person, and disturbs nobody else."""

import pytest

from clusters.failure import Failed
from tenancy import Tenancy, until

BROKEN = {
    "ImageUnavailable": {"image": "localhost/aion-os/no-such-image:1"},
    "ResourcesExceedNodes": {"resources": {"cpu": "4000", "mem": "64Mi"}},
    "EntryNotFound": {"entry": "no-such-program --help"},
    "ProfileNotFound": {"sandboxProfile": "no-such-profile"},
}


@pytest.mark.parametrize("reason", BROKEN)
def test_refusals_of_an_agent_have_a_reason_and_advice(tenant: Tenancy, reason: str):
    tenant.put(tenant.document("broken", **BROKEN[reason]))
    ready = until(lambda: _ready(tenant, "agent/broken", reason), what=f"Ready=False with reason {reason}")
    assert len(ready["message"]) > 20
    assert ready["observedGeneration"] == 1


def test_refusals_of_an_entry_that_does_not_parse_come_before_there_is_an_object(tenant: Tenancy):
    with pytest.raises(Failed, match="entry"):
        tenant.put(tenant.document("broken", entry="python3 'unclosed"))
    assert tenant.get("agents")["items"] == []


def test_refusals_of_a_tool_whose_wasm_file_is_bad(tenant: Tenancy):
    tool = {"version": "1.0.0", "entry": "wasm:tools/dates.py", "io": {"input": {"schema": "query:string"}}}
    tenant.put({"apiVersion": "aion.os/v1", "kind": "Tool", "metadata": {"name": "bad"}, "spec": tool})
    ready = until(lambda: _ready(tenant, "tool/bad", "BadToolFile"), what="Ready=False with reason BadToolFile", seconds=90)
    assert "wasm" in ready["message"].lower()


def _ready(tenant: Tenancy, what: str, reason: str) -> dict | None:
    found = tenant.condition(what, "Ready")
    return found if (found.get("status"), found.get("reason")) == ("False", reason) else None
