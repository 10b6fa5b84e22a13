"""The field types that kinds are made of: names, versions, money, quantities, lists with merge keys.

Apart because each type carries its pattern and its maximum once, for pydantic and for the API server. Every string,
list and map has a maximum: CEL's cost and etcd's patience depend on it. No floats: money is a decimal string.
"""

import re
from collections.abc import Hashable
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from aion.api.shape import IntOrString, Matching, Rule, Says

EXACT = 1 << 53  # whole numbers up to here are exact in every JSON reader

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_QUALIFIED = rf"({_LABEL}([.]{_LABEL})*/)?[A-Za-z0-9]([A-Za-z0-9_.-]{{0,61}}[A-Za-z0-9])?"
_SEMVER = (
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(-(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?"
    r"(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
)
_QUANTITY = r"^[0-9]{1,12}(\.[0-9]{1,3})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"

DnsLabel = Annotated[str, Field(max_length=63), Matching(f"^{_LABEL}$", "a name of a-z, 0-9 and -, such as web-search")]
DnsSubdomain = Annotated[
    str, Field(max_length=253), Matching(rf"^{_LABEL}(\.{_LABEL})*$", "a name of a-z, 0-9, - and ., such as my-files")
]
OptionalName = Annotated[str, Field(max_length=63), Matching(f"^({_LABEL})?$", "a name of a-z, 0-9 and -, or nothing")]
SemVer = Annotated[str, Field(max_length=64), Matching(f"^{_SEMVER}$", "a semantic version such as 1.2.0")]
Dollars = Annotated[
    str,
    Field(max_length=16),
    Matching(r"^[0-9]{1,9}(\.[0-9]{1,6})?$", 'dollars as a decimal string, such as "0.10", in quotes'),
]
ImageRef = Annotated[
    str,
    Field(max_length=512),
    Matching(r"^[a-zA-Z0-9][a-zA-Z0-9._:/@-]*$", "an image such as ghcr.io/acme/researcher:1.0.0"),
]
LabelKey = Annotated[
    str, Field(max_length=317), Matching(f"^({_QUALIFIED})?$", "a label's key, such as disk or example.org/pool")
]
LabelValue = Annotated[
    str,
    Field(max_length=63),
    Matching(
        "^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$", "a label's value: letters, digits, -, _ and ., 63 at most"
    ),
]
Word = Annotated[str, Field(max_length=253)]
Text = Annotated[str, Field(max_length=1024)]
LongText = Annotated[str, Field(max_length=32768)]
Timestamp = Annotated[str, Field(max_length=64), Says({"format": "date-time"})]
Count = Annotated[int, Field(ge=0, le=EXACT)]
AnyObject = Annotated[dict[str, Any], Says({"type": "object", "x-kubernetes-preserve-unknown-fields": True})]
Quantity = Annotated[int | str, IntOrString(_QUANTITY, "a Kubernetes quantity such as 250m, 1 or 1Gi")]


def _keys(pattern: str) -> Rule:
    return Rule(
        cel=f"self.all(key, key.matches('^{pattern}$'))",
        message="each key must be a name such as team or example.org/team",
        holds=lambda given: all(re.fullmatch(pattern, key) and len(key) <= 317 for key in given),
    )


LABEL_KEYS = _keys(_QUALIFIED)
ANNOTATION_KEYS = _keys(_QUALIFIED.replace("[a-z0-9]", "[A-Za-z0-9]").replace("[-a-z0-9]", "[-A-Za-z0-9]"))
LabelMap = Annotated[dict[str, LabelValue], Field(max_length=64), LABEL_KEYS]
AnnotationMap = Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(max_length=64), ANNOTATION_KEYS]

AS_SET = Says({"x-kubernetes-list-type": "set"})
AS_ATOM = Says({"x-kubernetes-list-type": "atomic"})


def as_map(*keys: str) -> Says:
    """A list whose items are merged by these keys."""
    return Says({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)})


def _unique(items: tuple[Hashable, ...]) -> tuple[Hashable, ...]:
    doubles = [item for at, item in enumerate(items) if item in items[:at]]
    if doubles:
        raise PydanticCustomError("unique", "{item} stands twice, expected each once", {"item": repr(doubles[0])})
    return items


def _unique_names(items: tuple[Any, ...]) -> tuple[Any, ...]:
    _unique(tuple(item.name for item in items))
    return items


UNIQUE = AfterValidator(_unique)
UNIQUE_NAMES = AfterValidator(_unique_names)


def one_of(*values: str) -> tuple[AfterValidator, Says]:
    """A string that is one of these. For sets of words too long or too computed for a Literal."""

    def verify(value: str) -> str:
        if value not in values:
            raise PydanticCustomError("one_of", "expected one of {values}", {"values": ", ".join(values)})
        return value

    return AfterValidator(verify), Says({"enum": list(values)})


_SUFFIX = {
    "m": Decimal("0.001"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "Ki": Decimal(1 << 10),
    "Mi": Decimal(1 << 20),
    "Gi": Decimal(1 << 30),
    "Ti": Decimal(1 << 40),
}
_PARTS = re.compile(r"([0-9.]+)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")


def amount(quantity: int | str) -> Decimal:
    """A Kubernetes quantity as a number: `250m` is 0.25, `1Gi` is 1073741824; raises ValueError."""
    found = _PARTS.fullmatch(str(quantity))
    if not found:
        raise ValueError(f"got quantity {quantity!r}, expected such as 250m, 1, 1Gi")
    return Decimal(found[1]) * _SUFFIX[found[2] or ""]


def mebibytes(quantity: int | str) -> int:
    """A quantity of bytes in whole MiB, rounded up."""
    return int((amount(quantity) / (1 << 20)).to_integral_value(rounding=ROUND_CEILING))
