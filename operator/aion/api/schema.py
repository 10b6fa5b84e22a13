"""A Tool's io: the short form `query:string,limit:int?` as JSON Schema.

Apart because gateway, runner, MCP face and CLI must compile the same schema from the same words. Pure. It must never
guess: what is not in the short form's grammar is refused, and the long form is there for everything else.

    short form   field[,field…]       field: name:type or name:type? (may be left out)
    types        string int number bool list object any, and list[string] and its like
"""

import re
from typing import Any

MAX_SHORT = 512

_TYPES: dict[str, dict[str, Any]] = {
    "any": {},
    "bool": {"type": "boolean"},
    "boolean": {"type": "boolean"},
    "dict": {"type": "object"},
    "float": {"type": "number"},
    "int": {"type": "integer"},
    "integer": {"type": "integer"},
    "list": {"type": "array"},
    "array": {"type": "array"},
    "number": {"type": "number"},
    "object": {"type": "object"},
    "str": {"type": "string"},
    "string": {"type": "string"},
}
TYPES = "any, bool, int, list, number, object, string, list[string]"
_TYPE = "(" + "|".join(_TYPES) + ")"
_FIELD = rf" *[A-Za-z_][A-Za-z0-9_]* *: *({_TYPE}|(list|array)\[{_TYPE}\])\?? *"
SHORT_PATTERN = rf"^{_FIELD}(,{_FIELD})*$"

_SHORT = re.compile(SHORT_PATTERN)

ANYTHING: dict[str, Any] = {"type": "object"}


def from_short(short: str, *, closed: bool) -> dict[str, Any]:
    """The JSON Schema of a short form; raises ValueError. `closed` refuses fields that it does not name."""
    if len(short) > MAX_SHORT or not _SHORT.fullmatch(short):
        raise ValueError(f"got {short[:80]!r}, expected name:type[,name:type] with types {TYPES}")
    properties: dict[str, Any] = {}
    required = []
    for field in short.split(","):
        name, _, type_name = (part.strip() for part in field.partition(":"))
        if name in properties:
            raise ValueError(f"got {name!r} twice, expected each name once")
        optional = type_name.endswith("?")
        properties[name] = _type(type_name.removesuffix("?"))
        if not optional:
            required.append(name)
    made: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        made["required"] = required
    if closed:
        made["additionalProperties"] = False
    return made


def names(short: str) -> tuple[str, ...]:
    """The names of a short form's fields, as written."""
    return tuple(field.partition(":")[0].strip() for field in short.split(","))


def _type(name: str) -> dict[str, Any]:
    outer, bracket, inner = name.partition("[")
    if not bracket:
        return dict(_TYPES[outer])
    return {"type": "array", "items": dict(_TYPES[inner.removesuffix("]")])}
