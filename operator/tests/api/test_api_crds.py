"""CRDs: structural, bounded, described; and a model that has no structural form is refused."""

from typing import Annotated

import pytest
from pydantic import Field, create_model

from aion.api import crds, fields, meta
from aion.api.shape import Matching, Shape
from aion.api.tenant import TenantStatus

KINDS = [pytest.param(kind, id=kind.names.kind) for kind in crds.KINDS]


def nodes(schema, at=""):
    yield at, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{at}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], at + mark)


@pytest.mark.parametrize("kind", KINDS)
def test_every_string_list_and_map_has_a_maximum_and_nothing_has_a_default(kind):
    for at, node in nodes(crds.root(kind)):
        if at in ("", ".apiVersion", ".kind", ".metadata"):
            continue
        free = node.get("x-kubernetes-preserve-unknown-fields")
        assert "default" not in node, at
        assert node.get("type") or node.get("x-kubernetes-int-or-string"), at
        if node.get("type") == "string":
            assert {"enum", "maxLength"} & node.keys() or node.get("format") == "date-time", at
        if node.get("type") == "array":
            assert {"maxItems", "x-kubernetes-list-type"} <= node.keys(), at
        if "additionalProperties" in node:
            assert "maxProperties" in node, at
        if node.get("type") == "object" and not free:
            assert {"properties", "additionalProperties"} & node.keys(), at


@pytest.mark.parametrize("kind", KINDS)
def test_kubectl_explain_has_a_sentence_for_every_field(kind):
    for at, node in nodes(crds.root(kind)):
        if at not in ("", ".apiVersion", ".kind", ".metadata") and not at.endswith(("[]", ".*")):
            assert node.get("description", "").endswith((".", "?")), at
            assert "`" not in node["description"], at


@pytest.mark.parametrize("kind", KINDS)
def test_a_definition_has_names_a_status_and_columns_that_tell_readiness(kind):
    made = crds.definition(kind)
    assert made["metadata"]["name"] == f"{kind.names.plural}.aion.os"
    assert made["spec"]["names"]["categories"] == ["aion"]
    (version,) = made["spec"]["versions"]
    assert (version["name"], version["subresources"]) == ("v1", {"status": {}})
    assert [column["name"] for column in version["additionalPrinterColumns"]][:2] == ["Ready", "Reason"]
    assert [c["name"] for c in version["additionalPrinterColumns"] if not c.get("priority")][-1] == "Age"


def test_an_agents_columns_are_the_contracts():
    columns = crds.definition(crds.Agent)["spec"]["versions"][0]["additionalPrinterColumns"]
    narrow, wide = ["READY", "REASON", "PRIORITY", "QUEUE", "POLICY", "AGE"], ["NODE", "TOKENS", "USD", "HEARTBEAT"]
    assert [c["name"].upper() for c in columns] == narrow + wide
    assert [c["name"].upper() for c in columns if c.get("priority")] == wide


def test_short_names_belong_to_one_kind_each():
    short = [name for kind in crds.KINDS for name in kind.names.short]
    assert len(short) == len(set(short))


class Float(Shape):
    x: float = 0.0


class Endless(Shape):
    x: str = ""


class Unbounded(Shape):
    x: tuple[fields.DnsLabel, ...] = ()


class Untyped(Shape):
    x: Annotated[tuple[fields.DnsLabel, ...], Field(max_length=3)] = ()


class Map(Shape):
    x: dict[str, fields.Word] = Field(default_factory=dict)


class Either(Shape):
    x: fields.Word | int = 0


class Itself(Shape):
    x: "Itself | None" = None


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (Float, "a float"),
        (Endless, "a string without maxLength"),
        (Unbounded, "a list without maxItems"),
        (Untyped, "a list without a list type"),
        (Map, "a map without maxProperties"),
        (Either, "2 types"),
        (Itself, "holds itself"),
    ],
)
def test_a_model_without_a_structural_form_is_refused_by_the_place(spec, said):
    odd = create_model(
        "Odd", __base__=meta.Kind, __doc__="A kind.", spec=(spec, ...), status=(TenantStatus, TenantStatus())
    )
    with pytest.raises(crds.NotStructural, match=rf"Odd\.spec\.x.*{said}"):
        crds.root(odd)


def test_patterns_mean_the_same_to_both_sides():
    for kind in crds.KINDS:
        for at, node in nodes(crds.root(kind)):
            if pattern := node.get("pattern"):
                assert pattern.startswith("^"), at
                assert pattern.endswith("$"), at
                assert not any(sign in pattern for sign in ("(?", r"\d", r"\w", r"\s", r"\b", r"\A", r"\Z")), at
    assert Matching("^a$", "a").check("a") == "a"
    with pytest.raises(ValueError, match="expected a"):
        Matching("^a$", "a").check("a\n")
