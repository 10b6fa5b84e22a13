"""How a classic file spells the fields of a kind.

Apart from `classic`, which knows documents, because here is only one rule and its exceptions: a field's classic name is
the snake_case of its name in the kind, so that a new field needs nothing here; what is spelled otherwise is a row of
`_SPELLINGS`. Pure. It must never guess: a field that nobody knows is a problem with advice, and two spellings of one field
are two problems' worth of one.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from aion.api import agent, tool
from aion.api.shape import model_within

Problems = list[tuple[str, str]]

_MONEY = frozenset({"usdMax"})
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def classic(alias: str) -> str:
    """The classic name of a field: `timeoutMs` is `timeout_ms`."""
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", alias).lower()


def alias(model: type[BaseModel], key: str) -> str | None:
    """The kind's name of a field that a classic file calls `key`, in either spelling; None where there is none."""
    aliases = [field.alias or name for name, field in model.model_fields.items()]
    return next((name for name in aliases if key in (name, classic(name))), None)


def advice(key: str, known: list[str]) -> str:
    """What to say of a field that nobody knows."""
    near = get_close_matches(key, known, n=1, cutoff=0.7)
    return "unknown field: " + (f"did you mean {near[0]}?" if near else f"expected {', '.join(known)}")


def from_classic(model: type[BaseModel], given: object, *, at: str, problems: Problems) -> Any:  # noqa: ANN401 - as YAML is
    """Classic names and values as the kind has them, as deep as the models go; what is wrong is added to `problems`."""
    if isinstance(given, list):
        return [from_classic(model, item, at=f"{at}[{n}]", problems=problems) for n, item in enumerate(given)]
    if not isinstance(given, Mapping):
        return _plain(given)
    made: dict[str, Any] = {}
    for key, value in given.items():
        path = f"{at}.{key}"
        try:
            name, said = _spelled(model, str(key), value)
        except ValueError as error:
            problems.append((path, str(error)))
            continue
        if name in made:
            problems.append((path, f"says the same as a field before it: keep one of them (both are {name})"))
            continue
        annotation = _annotation(model, name)
        if inner := model_within(annotation):
            made[name] = from_classic(inner, said, at=path, problems=problems)
        elif isinstance(said, Mapping):
            made[name] = words(said) if _holds_words(annotation) else _numbers(said)
        elif isinstance(said, list):
            made[name] = [_plain(item) for item in said]
        else:
            made[name] = text(said) if name in _MONEY and said is not None else _plain(said)
    return made


def to_classic(model: type[BaseModel], given: object) -> Any:  # noqa: ANN401 - as a document is
    """The kind's names and values as a classic file has them; money becomes a number."""
    if isinstance(given, list):
        return [to_classic(model, item) for item in given]
    if not isinstance(given, dict):
        return given
    made: dict[str, Any] = {}
    for name, value in given.items():
        if inner := model_within(_annotation(model, name)):
            made[classic(name)] = to_classic(inner, value)
        else:
            made[classic(name)] = Decimal(value) if name in _MONEY else value
    return made


def text(value: object) -> str:
    """A scalar as the text that a person wrote."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def words(given: Mapping[Any, object]) -> dict[str, Any]:
    """A map of texts, such as labels: `port: 80` is `port: "80"`."""
    return {str(key): text(value) for key, value in given.items()}


def _spelled(model: type[BaseModel], key: str, value: object) -> tuple[str, object]:
    """The kind's name and value of one classic field; raises ValueError where there is none."""
    if name := alias(model, key):
        return name, value
    for pattern, read in _SPELLINGS.get(model, ()):
        if found := pattern.fullmatch(key):
            return read(found, value)
    raise ValueError(advice(key, [classic(field.alias or name) for name, field in model.model_fields.items()]))


def _ttl(found: re.Match[str], value: object) -> tuple[str, object]:
    """`short_ttl: 1h`, `short_ttl_s: 3600`, `short_ttl_hours: 1` and their like, in seconds."""
    unit = found[2] or ""
    told = re.fullmatch(r"([0-9]{1,9}) ?([smhd]?)", text(value))
    if not told or (unit and told[2]):
        raise ValueError(f"got {text(value)!r}, expected a time such as {'1' if unit else '3600, 90m, 1h or 14d'}")
    return f"{found[1]}TtlSeconds", int(told[1]) * _SECONDS[unit[:1] or told[2]]


def _mebibytes(_: re.Match[str], value: object) -> tuple[str, object]:
    if not re.fullmatch(r"[0-9]{1,9}", text(value)):
        raise ValueError(f"got {text(value)!r}, expected a whole number of MiB")
    return "mem", f"{text(value)}Mi"


def _seconds(_: re.Match[str], value: object) -> tuple[str, object]:
    if not re.fullmatch(r"[0-9]{1,9}([.][0-9]{1,3})?", text(value)):
        raise ValueError(f"got {text(value)!r}, expected seconds")
    return "timeoutMs", int(Decimal(text(value)) * 1000)


_Reader = Callable[[re.Match[str], object], tuple[str, object]]
_TIMEOUT = (re.compile(r"timeout_s(?:econds)?"), _seconds)
_MEMORY = (
    (re.compile(r"memory_(?:mb|mib)"), _mebibytes),
    (re.compile(r"memory"), lambda _, value: ("mem", value)),
)
_SPELLINGS: dict[type[BaseModel], tuple[tuple[re.Pattern[str], _Reader], ...]] = {
    agent.AgentSpec: (_TIMEOUT,),
    agent.Memory: ((re.compile(r"(short|long|episodic)(?:_term)?_ttl(?:_(s|seconds|minutes|hours|days))?"), _ttl),),
    agent.Resources: _MEMORY,
    tool.ToolSpec: (_TIMEOUT,),
    tool.Resources: _MEMORY,
}


def _annotation(model: type[BaseModel], name: str) -> object:
    return next(field.annotation for key, field in model.model_fields.items() if name == (field.alias or key))


def _holds_words(annotation: object) -> bool:
    """Whether this is a map of texts, as `config` is, and not one that is free of form, as a JSON Schema is."""
    if get_origin(annotation) is dict:
        return get_args(annotation)[1] is not Any
    return any(_holds_words(inner) for inner in get_args(annotation))


def _plain(value: object) -> object:
    """A number with a point as its text: no field of a kind is a float."""
    return text(value) if isinstance(value, Decimal) else value


def _numbers(value: object) -> object:
    """Numbers as JSON has them, within what is free of form."""
    if isinstance(value, Mapping):
        return {key: _numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_numbers(inner) for inner in value]
    return float(value) if isinstance(value, Decimal) else value
