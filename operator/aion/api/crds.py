"""From a model to its CustomResourceDefinition: a structural schema that the API server takes.

Apart because pydantic speaks JSON Schema and Kubernetes a strict subset of OpenAPI 3.0. Pure: models in, documents out;
`aionctl crds generate` writes them. What has no structural form (tuples, recursion, several types) is refused here, so
that a model cannot drift into something the API server would silently read otherwise.
"""

from typing import Any, Literal

from pydantic import BaseModel

from aion.api import labels, meta, shape
from aion.api.agent import Agent
from aion.api.policy import Policy
from aion.api.sandboxprofile import SandboxProfile
from aion.api.tenant import Tenant
from aion.api.tool import Tool

KINDS: tuple[type[meta.Kind], ...] = (Agent, Tool, Tenant, SandboxProfile, Policy)

_KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-preserve-unknown-fields",
    shape.VALIDATIONS,
)
_DROPPED = (
    "title",
    "default",
    "additionalProperties",
    "properties",
    "items",
    "anyOf",
    "$ref",
    "$defs",
    "const",
    "examples",
)


class NotStructural(TypeError):  # noqa: N818 - it says what the model is
    """A model holds something that a structural schema cannot say. The message names the place."""


def definition(kind: type[meta.Kind]) -> dict[str, Any]:
    """The CRD of one kind."""
    names = kind.names
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.plural}.{labels.GROUP}"},
        "spec": {
            "group": labels.GROUP,
            "names": {
                "categories": ["aion"],
                "kind": names.kind,
                "listKind": f"{names.kind}List",
                "plural": names.plural,
                "shortNames": list(names.short),
                "singular": names.singular,
            },
            "scope": names.scope,
            "versions": [
                {
                    "name": labels.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in _ordered(kind.columns)],
                    "schema": {"openAPIV3Schema": root(kind)},
                }
            ],
        },
    }


def part(kind: type[meta.Kind], name: Literal["spec", "status"]) -> type[BaseModel]:
    """The model of a kind's spec or status."""
    found = shape.model_within(kind.model_fields[name].annotation)
    if found is None:
        raise NotStructural(f"{kind.__name__}.{name} is no model")
    return found


def root(kind: type[meta.Kind]) -> dict[str, Any]:
    """The schema of a whole object; raises NotStructural. Metadata is the API server's own business."""
    document = kind.model_json_schema(by_alias=True, mode="validation")
    definitions = document["$defs"]
    parts = {
        part: _node(document["properties"][part], definitions=definitions, at=f"{kind.__name__}.{part}", within=())
        for part in ("spec", "status")
    }
    made: dict[str, Any] = {"description": _prose(document["description"]), "type": "object"}
    if "spec" in document["required"]:
        made["required"] = ["spec"]
    if rules := document.get(shape.VALIDATIONS):
        made[shape.VALIDATIONS] = rules
    frame = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    return {**made, "properties": {**frame, **parts}}


def _ordered(columns: tuple[meta.Column, ...]) -> list[meta.Column]:
    """Those of `-o wide` come last, as with the kinds of Kubernetes itself."""
    return sorted(columns, key=lambda column: column.priority)


def _column(column: meta.Column) -> dict[str, Any]:
    made: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.json_path}
    return {**made, "priority": column.priority} if column.priority else made


def _node(schema: dict[str, Any], *, definitions: dict[str, Any], at: str, within: tuple[str, ...]) -> dict[str, Any]:
    if reference := schema.get("$ref"):
        name = reference.removeprefix("#/$defs/")
        if name in within:
            raise NotStructural(f"{at}: {name} holds itself, and a structural schema has an end")
        beside = {key: value for key, value in schema.items() if key in ("description", shape.VALIDATIONS)}
        return _node({**definitions[name], **beside}, definitions=definitions, at=at, within=(*within, name))
    if options := schema.get("anyOf"):
        some = [option for option in options if option.get("type") != "null"]
        if len(some) != 1:
            raise NotStructural(f"{at}: {len(some)} types, and a structural schema has one")
        beside = {key: value for key, value in schema.items() if key != "anyOf"}
        return _node({**some[0], **beside}, definitions=definitions, at=at, within=within)
    if strange := [key for key in schema if key not in _KEPT and key not in _DROPPED]:
        raise NotStructural(f"{at}: {', '.join(strange)} has no structural form")

    made = {key: schema[key] for key in _KEPT if key in schema}
    if "const" in schema:
        made["enum"] = [schema["const"]]
    if "description" in made:
        made["description"] = _prose(made["description"])
    _bound(made, schema, at=at)

    def below(inner: dict[str, Any], name: str) -> dict[str, Any]:
        return _node(inner, definitions=definitions, at=at + name, within=within)

    if "properties" in schema:
        made["properties"] = {name: below(inner, f".{name}") for name, inner in schema["properties"].items()}
    elif isinstance(schema.get("additionalProperties"), dict) and "x-kubernetes-preserve-unknown-fields" not in made:
        made["additionalProperties"] = below(schema["additionalProperties"], ".*")
    if "items" in schema:
        made["items"] = below(schema["items"], "[]")
    return made


def _prose(docstring: str) -> str:
    """A docstring as `kubectl explain` shows it."""
    return " ".join(docstring.split()).replace("`", "")


def _bound(made: dict[str, Any], schema: dict[str, Any], *, at: str) -> None:
    """Every whole number is int64; every string, list and map has a maximum; nothing is a float."""
    kind = made.get("type")
    if kind == "number":
        raise NotStructural(f"{at}: a float, and specs hold none: use an integer or a decimal string")
    if kind == "integer":
        made["format"] = "int64"
    if kind == "string" and not {"enum", "maxLength"} & made.keys() and made.get("format") != "date-time":
        raise NotStructural(f"{at}: a string without maxLength")
    if kind == "array" and "maxItems" not in made:
        raise NotStructural(f"{at}: a list without maxItems")
    if kind == "array" and "x-kubernetes-list-type" not in made:
        raise NotStructural(f"{at}: a list without a list type: say set, map or atomic")
    is_map = kind == "object" and isinstance(schema.get("additionalProperties"), dict)
    if is_map and "maxProperties" not in made:
        raise NotStructural(f"{at}: a map without maxProperties")
