"""The sample manifests, as the tests of this folder find them."""

import re
from pathlib import Path
from typing import Any

import yaml

from aion.api import crds

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "crds/samples"
GOOD = sorted(SAMPLES.glob("*.yaml"))
INVALID = sorted((SAMPLES / "invalid").glob("*.yaml"))
KINDS = {kind.names.kind: kind for kind in crds.KINDS}


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def ours(path: Path) -> list[dict[str, Any]]:
    return [document for document in documents(path) if document["apiVersion"] == "aion.os/v1"]


def problems(document: dict[str, Any]) -> str:
    """What the models say against a document; empty where nothing."""
    try:
        KINDS[document["kind"]].from_file(document)
    except ValueError as error:
        return str(error)
    return ""


def examples(page: Path) -> list[dict[str, Any]]:
    """The manifests that stand on a page in fences of YAML."""
    fences = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [document for text in fences for document in yaml.safe_load_all(text) if document]
