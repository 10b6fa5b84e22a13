"""Tables of a model's fields, for the pages that people read: kinds in crds/, the bundle in policies/README.md.

Apart from the pages' prose, which people write. Pure: a model in, Markdown out; types, bounds and defaults come from where
they are enforced, so that a page cannot say otherwise. It must never say of a field what its docstring does not.
"""

import json
import re
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aion.api import fields, meta
from aion.api.shape import IntOrString, Matching, Says, model_within

BEGIN = "<!-- fields of {}: written by `aionctl crds generate` -->"
END = "<!-- end of fields -->"
_BLOCK = re.compile(r"<!-- fields of ([A-Za-z]+): written by [^>]*-->\n.*?<!-- end of fields -->", re.DOTALL)

_FEW = 8  # more choices than this belong into prose


def fill(page: str, models: Mapping[str, type[BaseModel]]) -> str:
    """The page with each block of fields written anew; `models` are by the name in the block's first line."""
    return _BLOCK.sub(lambda found: block(found[1], models[found[1]]), page)


def names(page: str) -> list[str]:
    """The blocks of a page, by name."""
    return [found[1] for found in _BLOCK.finditer(page)]


def block(name: str, model: type[BaseModel]) -> str:
    """One block, its two comments included. A status, which no person writes, has neither forms nor defaults."""
    rows = list(_rows(model, at=""))
    shown = (
        ["Field", "Meaning"] if name == "status" else [column for column in rows[0] if any(row[column] for row in rows)]
    )
    lines = [shown, ["---"] * len(shown), *([row[column] for column in shown] for row in rows)]
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"{BEGIN.format(name)}\n{table}\n{END}"


def _rows(model: type[BaseModel], *, at: str) -> Iterator[dict[str, str]]:
    for name, field in model.model_fields.items():
        path = at + (field.alias or name)
        inner = model_within(field.annotation)
        holds = _holds(field.annotation)
        plain = inner is not None and not holds
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        yield {
            "Field": f"`{path}`",
            "What goes in": "" if plain else _form(field.annotation, [*field.metadata]),
            "Default": "" if plain and not field.is_required() else _default(field),
            "More of it": {"widen": "widens", "tighten": "tightens"}.get(str(extra.get("direction")), ""),
            "Meaning": " ".join((field.description or "").split()),
        }
        if inner is not None and inner is not meta.ConditionStatus:  # told once, in crds/README.md
            yield from _rows(inner, at=f"{path}{holds}.")


def _holds(annotation: object) -> str:
    """How the models within a field are reached: `[]` in a list, `.NAME` in a map, nothing where it is one."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is tuple:
        return "[]"
    if origin is dict:
        return ".NAME"
    return next((said for each in inner if (said := _holds(each))), "")


def _form(annotation: object, metadata: list[object]) -> str:
    """What a field takes, in words, bounds included."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _form(inner, [*more, *metadata])
    found = [each for one in metadata for each in (one.metadata if isinstance(one, FieldInfo) else [one])]
    told = next((each.expected for each in found if isinstance(each, Matching | IntOrString)), None)
    if told:
        return told
    choices = next((each.words["enum"] for each in found if isinstance(each, Says) and "enum" in each.words), None)
    if choices:
        return _choice(choices)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return _form(next(each for each in inner if each is not NoneType), metadata)
    if origin is Literal:
        return _choice(list(inner))
    most = next((each.max_length for each in found if isinstance(each, annotated_types.MaxLen)), None)
    if origin is tuple:
        items = _form(inner[0], []) if model_within(inner[0]) is None else ""
        return f"a list{_up_to(most)}" + (f": {items}" if items else "")
    if origin is dict:
        return "any object" if inner[1] is Any else f"a map{_up_to(most)}"
    if annotation is bool:
        return "`true` or `false`"
    if annotation in (int, float):
        return _number(annotation, found)
    return f"a text{_up_to(most)}"


def _choice(values: list[Any]) -> str:
    return (
        ", ".join(f"`{value}`" for value in values) if len(values) <= _FEW else f"one of {len(values)} names, see below"
    )


def _up_to(most: int | None) -> str:
    return f", up to {most}" if most else ""


def _number(kind: object, found: list[object]) -> str:
    what = "a whole number" if kind is int else "a number"
    least = next((each.ge for each in found if isinstance(each, annotated_types.Ge)), None)
    above = next((each.gt for each in found if isinstance(each, annotated_types.Gt)), None)
    most = next((each.le for each in found if isinstance(each, annotated_types.Le)), None)
    if above is not None:
        return f"{what} above {above}, up to {most}"
    bounded = most is not None and most != fields.EXACT  # no person means that bound
    return f"{what}, {least} to {most}" if bounded else f"{what}, at least {least}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ("", (), {}):
        return ""
    return f"`{json.dumps(value, default=str)}`"
