"""What every model of a kind has in common: camelCase on the wire, frozen, rules that Python and the API server share.

Apart because a rule written twice drifts. A `Rule` carries its CEL and its Python, a `ListOf` its merge keys; models
read themselves strictly from a person's file and tolerantly from a cluster, whose CRDs may be newer than this code.
It must never put a default into a schema: it would change what was signed. Defaults are attributes' values here.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

VALIDATIONS = "x-kubernetes-validations"


class InvalidManifest(ValueError):  # noqa: N818 - it is what the manifest is
    """A document that is not what its kind says. `problems` are (path, what to do) pairs, in the document's order."""

    def __init__(self, what: str, problems: tuple[tuple[str, str], ...]) -> None:
        super().__init__("; ".join(f"{path}: {message}" if path else message for path, message in problems))
        self.what = what
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule in two languages: `cel` for the API server, `holds` for us. As metadata of a field, or in `rules`."""

    cel: str
    message: str
    holds: Callable[[Any], bool]

    def verify(self, value: object) -> object:
        """Give the value back, or raise with the rule's message."""
        if not self.holds(value):
            raise PydanticCustomError("rule", "{said}", {"said": self.message})
        return value

    def document(self) -> dict[str, str]:
        """As it stands in a CRD."""
        return {"rule": self.cel, "message": self.message}

    def __get_pydantic_core_schema__(self, source: type[object], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.verify, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        made = handler(core)
        made[VALIDATIONS] = [*made.get(VALIDATIONS, []), self.document()]
        return made


@dataclass(frozen=True, slots=True)
class Matching:
    """A string of one form: `pattern` for both sides, `expected` for the person who got it wrong.

    The pattern must mean the same to Go's RE2 and Python's re: anchored by ^ and $, no classes with a
    backslash, no look-around.
    `verify` may add a message that knows more than the pattern; it must not refuse what the pattern takes.
    """

    pattern: str
    expected: str
    verify: Callable[[str], object] | None = None

    def check(self, value: str) -> str:
        """Give the string back, or raise with what was expected."""
        if self.verify is not None:
            try:
                self.verify(value)
            except ValueError as error:
                raise PydanticCustomError("form", "{said}", {"said": str(error)}) from None
        if value.endswith("\n") or not re.search(self.pattern, value):  # Python's $ would pass over one line break
            raise PydanticCustomError("form", "expected {expected}", {"expected": self.expected})
        return value

    def __get_pydantic_core_schema__(self, source: type[object], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), "pattern": self.pattern}


@dataclass(frozen=True, slots=True)
class IntOrString:
    """A whole number within bounds, or a string of one form: Kubernetes' quantities and their like."""

    pattern: str
    expected: str
    maximum: int | None = None

    def check(self, value: object) -> object:
        """Give the value back, or raise with what was expected."""
        if isinstance(value, int) and not isinstance(value, bool):
            fits = value >= 0 and (self.maximum is None or value <= self.maximum)
        else:
            fits = isinstance(value, str) and re.fullmatch(self.pattern, value) is not None
        if not fits:
            raise PydanticCustomError("form", "expected {expected}", {"expected": self.expected})
        return value

    def __get_pydantic_core_schema__(self, source: type[object], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.check, serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value)
        )

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        made: JsonSchemaValue = {"x-kubernetes-int-or-string": True, "pattern": self.pattern, "minimum": 0}
        return made if self.maximum is None else {**made, "maximum": self.maximum}


@dataclass(frozen=True, eq=False)  # hashed by identity: typing wants metadata hashable
class Says:
    """Words that only the CRD needs, such as list types and enums; nothing is checked by it."""

    words: Mapping[str, Any]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), **self.words}


class Shape(BaseModel):
    """A piece of a kind. `rules` hold across its fields."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _verify_rules(self) -> Self:
        for rule in self.rules:
            rule.verify(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        made = handler(core)
        if cls.rules:
            handler.resolve_ref_schema(made)[VALIDATIONS] = [rule.document() for rule in cls.rules]
        return made

    @classmethod
    def read_strictly(cls, document: object) -> Self:
        """Read what a person wrote: exact types, no unknown fields; raises InvalidManifest."""
        try:
            text = json.dumps(document, allow_nan=False, default=_plain)
        except (TypeError, ValueError) as error:
            raise InvalidManifest(cls.__name__, (("", f"not a document of plain values: {error}"),)) from None
        if nulls := _nulls(cls, document):
            raise InvalidManifest(cls.__name__, tuple(nulls))
        try:
            return cls.model_validate_json(text, strict=True, extra="forbid", by_alias=True, by_name=False)
        except ValidationError as error:
            raise InvalidManifest(cls.__name__, problems_of(cls, error)) from None

    @classmethod
    def read_tolerantly(cls, document: object) -> Self:
        """Read what a cluster holds: fields of a newer version are passed over; raises InvalidManifest."""
        try:
            return cls.model_validate(document, by_alias=True, by_name=False)
        except ValidationError as error:
            raise InvalidManifest(cls.__name__, problems_of(cls, error)) from None

    def document(self) -> dict[str, Any]:
        """As it was written: aliases, only what was set, plain values."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


def _plain(value: object) -> str:
    """Dates are what YAML makes of unquoted 2026-01-01; Kubernetes sees the text."""
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def problems_of(cls: type[BaseModel], error: ValidationError) -> tuple[tuple[str, str], ...]:
    """What pydantic found, as (path, what to do) pairs for a person."""
    problems = []
    for problem in error.errors(include_url=False):
        path = _path(problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "unknown field" + _did_you_mean(cls, problem["loc"])
        elif problem["type"] == "missing":
            message = "is required"
        elif problem["type"] == "string_type" and isinstance(problem["input"], int | float):
            message = f"expected text, in quotes (got {problem['input']})"
        elif not isinstance(problem["input"], dict | list) and not message.startswith("got "):
            message = f"{message} (got {str(problem['input'])[:80]!r})"
        problems.append((path, message[:1].lower() + message[1:]))
    return tuple(problems)


def _path(loc: tuple[int | str, ...]) -> str:
    made = ""
    for part in loc:
        made += f"[{part}]" if isinstance(part, int) else f".{part}" if made else part
    return made


def _did_you_mean(cls: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    at: object = cls
    for part in loc[:-1]:
        at = _within(at, part)
    if not (isinstance(at, type) and issubclass(at, BaseModel)):
        return ""
    known = [field.alias or name for name, field in at.model_fields.items()]
    wrong = str(loc[-1])
    spelled = wrong if any("_" in name for name in known) else to_camel(wrong)  # a bundle is snake_case, a kind is not
    near = get_close_matches(spelled, known, n=1, cutoff=0.7)
    return f": did you mean {near[0]}?" if near else f": expected {', '.join(known)}"


def _within(at: object, part: int | str) -> object:
    """The model that `part` of a model leads to, seen through lists, maps and optionals; None where there is none."""
    if not (isinstance(at, type) and issubclass(at, BaseModel)):
        return None
    found = next((f.annotation for n, f in at.model_fields.items() if part in (f.alias, n)), None)
    return at if found is None else model_within(found)  # an index, or a map's key, stays with its items' model


def model_within(annotation: object) -> type[BaseModel] | None:
    """The model that a field's type holds, seen through lists, maps and optionals; None where it holds none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := model_within(inner)) is not None), None)


def _nulls(cls: type[BaseModel], document: object, *, at: str = "") -> list[tuple[str, str]]:
    """Where a document says null to one of our fields. Kubernetes refuses that; what is free of form may hold nulls."""
    if isinstance(document, list):
        return [found for n, item in enumerate(document) for found in _nulls(cls, item, at=f"{at}[{n}]")]
    if not isinstance(document, Mapping):
        return []
    found = []
    for field, info in cls.model_fields.items():
        name = info.alias or field
        path = f"{at}.{name}" if at else name
        if name in document and document[name] is None:
            found.append((path, "is null: leave the field out, or give it a value"))
        elif inner := model_within(info.annotation):
            found += _nulls(inner, document.get(name), at=path)
    return found
