"""Classic agent.yml and tool.yml, and the kinds that they stand for: from one to the other and back.

Apart because a classic file is not a Kubernetes object: its version stands in metadata, its names hold underscores, its
fields are snake_case and its money is a number. Pure: documents in, documents out; numbers with a point come as Decimal,
so that 0.10 stays 0.10. It must never drop anything in silence: what one side cannot say is a note.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aion.api import labels, meta, spelling
from aion.api.agent import Agent, AgentSpec
from aion.api.shape import InvalidManifest
from aion.api.tool import Tool, ToolSpec

Document = dict[str, Any]

KINDS: dict[str, type[Agent] | type[Tool]] = {"Agent": Agent, "Tool": Tool}

_SPECS: dict[str, type[AgentSpec] | type[ToolSpec]] = {"Agent": AgentSpec, "Tool": ToolSpec}
_METADATA = ["name", "version", "namespace", "description", "labels", "annotations"]
_ONLY_KUBERNETES: dict[str, dict[str, object]] = {
    "Agent": {"source": None, "operatingMode": "Running", "sandboxProfile": "", "podTemplate": {}},
    "Tool": {"replicas": 1},
}
"""Fields of a spec that a classic file cannot hold, with the value at which nothing is lost."""

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"  # kubectl's own copy of the object


@dataclass(frozen=True, slots=True)
class Converted:
    """A document of the other form, and what a person should know about it, one sentence a note."""

    document: Document
    notes: tuple[str, ...] = ()


def kubernetes_name(name: str) -> str:
    """The name that Kubernetes takes for a classic one: `web_search` is `web-search`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def to_kind(document: Mapping[str, Any], *, namespace: str = "") -> Converted:
    """Turn a classic document into its kind; raises InvalidManifest with the paths of the classic file.

    A document that is of its kind already comes back as it is. `namespace` replaces the one that the file names.
    """
    kind = _kind(document)
    metadata = {key: value for key, value in _mapping(kind, document, "metadata").items() if value is not None}
    spec = _mapping(kind, document, "spec")
    problems: spelling.Problems = [
        (f"metadata.{key}", spelling.advice(str(key), _METADATA))
        for key in metadata
        if key not in _METADATA and spelling.alias(meta.Metadata, str(key)) is None
    ]
    said = {at: where["version"] for at, where in (("metadata", metadata), ("spec", spec)) if "version" in where}
    if len(set(map(spelling.text, said.values()))) > 1:
        problems.append(("metadata.version", f"got {said['metadata']}, and spec.version is {said['spec']}: keep one"))
    made: Document = {"version": spelling.text(next(iter(said.values())))} if said else {}
    rest = {key: value for key, value in spec.items() if key != "version"}
    made |= spelling.from_classic(_SPECS[kind], rest, at="spec", problems=problems)
    if problems:
        raise InvalidManifest(kind, tuple(problems))

    notes: list[str] = []
    worn = _metadata(kind, metadata, made, notes=notes)
    worn |= {"namespace": namespace} if namespace else {}
    order = [field.alias or name for name, field in _SPECS[kind].model_fields.items()]
    made = {field: made[field] for field in order if field in made}
    result: Document = {"apiVersion": labels.API_VERSION, "kind": kind, "metadata": worn, "spec": made}
    result |= {"status": document["status"]} if document.get("status") else {}
    _verify(result, version_at="metadata.version" if "metadata" in said or not said else "spec.version")
    return Converted(result, tuple(notes))


def to_classic(document: Mapping[str, Any]) -> Converted:
    """Turn an Agent or a Tool into a classic document; raises InvalidManifest.

    The cluster's own fields (status, uid, managedFields and their like) are left behind.
    """
    kind = _kind(document)
    model = KINDS[kind].from_file({key: value for key, value in document.items() if key != "status"})
    whole = model.document()
    spec: Document = dict(whole["spec"])
    notes = []
    for field, harmless in _ONLY_KUBERNETES[kind].items():
        if field in spec and spec.pop(field) != harmless:
            notes.append(f"spec.{field} is left out: a classic {kind.lower()}.yml has no such field")

    annotations = dict(model.metadata.annotations)
    annotations.pop(_LAST_APPLIED, None)
    before = {kubernetes_name(name): name for name in annotations.pop(labels.CLASSIC_NAMES, "").split(",")}
    name = spec.pop("toolName", None) or before.get(model.name, model.name)
    if kubernetes_name(name) != model.name:
        notes.append(
            f"metadata.name {model.name} is left out: a classic file has one name, what agents call ({name}), "
            f"and converted back the object is called {kubernetes_name(name)}"
        )
    if "tools" in spec:
        spec["tools"] = [before.get(each, each) for each in spec["tools"]]
    worn: Document = {
        "name": name,
        "version": spec.pop("version"),
        "namespace": model.metadata.namespace,
        "description": annotations.pop(labels.DESCRIPTION, ""),
        "labels": dict(model.metadata.labels),
        "annotations": annotations,
    }
    result: Document = {
        "apiVersion": labels.API_VERSION,
        "kind": kind,
        "metadata": {key: value for key, value in worn.items() if value},
        "spec": spelling.to_classic(_SPECS[kind], spec),
    }
    return Converted(result, tuple(notes))


def _kind(document: Mapping[str, Any]) -> str:
    kind, version = document.get("kind"), document.get("apiVersion", labels.API_VERSION)
    if not isinstance(kind, str) or kind not in KINDS:
        raise InvalidManifest("classic file", (("kind", f"got {kind!r}, expected Agent or Tool"),))
    if not str(version).startswith("aion"):
        raise InvalidManifest(kind, (("apiVersion", f"got {version!r}, expected {labels.API_VERSION}, or none"),))
    return kind


def _mapping(kind: str, document: Mapping[str, Any], field: str) -> Document:
    found = document.get(field)
    if not isinstance(found, Mapping):
        said = "is required" if found is None else f"got {type(found).__name__}, expected a mapping"
        raise InvalidManifest(kind, ((field, said),))
    return dict(found)


def _metadata(kind: str, given: Document, spec: Document, *, notes: list[str]) -> Document:
    """Metadata of the kind; what Kubernetes cannot call a thing goes to toolName, or into an annotation."""
    name = spelling.text(given.get("name", ""))
    short = kubernetes_name(name)
    lost: list[str] = []
    if short != name and kind == "Tool" and re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", name):
        spec.setdefault("toolName", name)
    elif short != name:
        lost.append(name)
        who = "agents call it" if kind == "Tool" else "its id ends with"
        notes.append(f"metadata.name {name!r} becomes {short!r}, because Kubernetes takes no such name: {who} {short}")
    if isinstance(tools := spec.get("tools"), list):
        lost += [each for each in tools if isinstance(each, str) and kubernetes_name(each) != each]
        spec["tools"] = [kubernetes_name(each) if isinstance(each, str) else each for each in tools]

    worn: Document = {"name": short}
    for key, value in given.items():
        if key not in ("name", "version", "description"):
            field = spelling.alias(meta.Metadata, str(key)) or str(key)
            worn[field] = spelling.words(value) if isinstance(value, Mapping) else value
    ours = {labels.DESCRIPTION: spelling.text(given["description"])} if "description" in given else {}
    ours |= {labels.CLASSIC_NAMES: ",".join(lost)} if lost else {}
    if ours and isinstance(worn.setdefault("annotations", {}), dict):
        worn["annotations"] |= ours
    return worn


def _verify(made: Document, *, version_at: str) -> None:
    try:
        KINDS[made["kind"]].from_file(made)
    except InvalidManifest as error:
        said = {"spec.version": version_at}
        problems = tuple((said.get(path) or spelling.classic(path), message) for path, message in error.problems)
        raise InvalidManifest(error.what, problems) from None
