"""What cannot run says so on its object, in words for a person, and disturbs nobody else."""

import hashlib
from pathlib import Path

import pytest

from clusters import choice, run, settings
from clusters.failure import Failed
from installation.tenancy import Tenancy, until

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


def test_refusals_of_a_tool_whose_wasm_file_is_bad(tenant: Tenancy, tmp_path: Path):
    image = _image_with(tmp_path, "tools/bad.wasm", b"this is not wasm")
    tool = {
        "version": "1.0.0",
        "image": image,
        "entry": "wasm:tools/bad.wasm",
        "io": {"input": {"schema": "query:string"}},
    }
    tenant.put({"apiVersion": "aion.os/v1", "kind": "Tool", "metadata": {"name": "bad"}, "spec": tool})
    ready = until(
        lambda: _ready(tenant, "tool/bad", "BadToolFile"), what="Ready=False with reason BadToolFile", seconds=90
    )
    assert "is not a WebAssembly module" in ready["message"]


def _image_with(folder: Path, name: str, content: bytes) -> str:
    """An image that holds one file, as an author of a Tool builds it; loaded into the cluster."""
    (folder / "file").write_bytes(content)
    (folder / "Dockerfile").write_text(f"FROM localhost/aion-os/tools:dev\nCOPY file /srv/{name}\n")
    tag = f"localhost/aion-os/e2e-{Path(name).stem}:{hashlib.sha256(content).hexdigest()[:12]}"
    engine = choice.answering_engine()
    build = (
        [engine, "build", "--quiet"] if engine else ["buildah", "bud", "--isolation=chroot", "--pull-never", "--quiet"]
    )
    run.output([*build, "--tag", tag, folder])
    choice.provider(settings.read()).load(tag)
    return tag


def _ready(tenant: Tenancy, what: str, reason: str) -> dict | None:
    found = tenant.condition(what, "Ready")
    return found if (found.get("status"), found.get("reason")) == ("False", reason) else None
