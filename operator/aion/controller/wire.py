"""What is read of an object on its way in: the fields that a view looks at, and of the server's books only our own page.

Apart from `kube` because it is about bytes, and the one place where an event's cost is decided: a Pod is 12 KB as JSON, of which its view reads a tenth.
What is not named here is skipped and never becomes an object, which takes a sixth of the time (86 us -> 15 us for such a Pod). It must never leave out
what `views` reads; a document that is read for anybody else is decoded whole.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias, TypedDict, cast

import msgspec

from aion.api import labels

Document: TypeAlias = Mapping[str, Any]


class Page(TypedDict, total=False):
    """Who owns which fields, see `ownership`; ours alone is opened."""

    manager: str
    operation: str
    subresource: str
    fieldsV1: msgspec.Raw


class Metadata(TypedDict, total=False):
    """What is known of an object of any kind."""

    name: str
    namespace: str
    uid: str
    resourceVersion: str
    generation: int
    creationTimestamp: str
    deletionTimestamp: str
    labels: dict[str, str]
    annotations: dict[str, str]
    ownerReferences: list[dict[str, Any]]
    finalizers: list[str]
    managedFields: list[Page]


class Object(TypedDict, total=False):
    """An object of most kinds."""

    apiVersion: str
    kind: str
    metadata: Metadata
    spec: dict[str, Any]
    status: dict[str, Any]


class PodSpec(TypedDict, total=False):
    """What may change of a Pod's spec: its node. Its images show in the books."""

    nodeName: str


class Pod(TypedDict, total=False):
    """A Pod."""

    apiVersion: str
    kind: str
    metadata: Metadata
    spec: PodSpec
    status: dict[str, Any]


class Failure(msgspec.Struct):
    """What a watch says instead of an object, with the type ERROR."""

    code: int = 0
    message: str = ""


class ListMeta(msgspec.Struct):
    """Of which version a list is, and how to go on."""

    version: str = msgspec.field(name="resourceVersion")
    following: str = msgspec.field(name="continue", default="")


class Listed(msgspec.Struct):
    """A page of a list, its items still closed."""

    metadata: ListMeta
    items: list[msgspec.Raw] | None = None


class Told(msgspec.Struct):
    """A line of a watch, its object still closed."""

    change: str = msgspec.field(name="type")
    object: msgspec.Raw


_objects: dict[str, msgspec.json.Decoder[Any]] = {"Pod": msgspec.json.Decoder(Pod)}
_object: msgspec.json.Decoder[Object] = msgspec.json.Decoder(Object)
_failure: msgspec.json.Decoder[Failure] = msgspec.json.Decoder(Failure)
listed: msgspec.json.Decoder[Listed] = msgspec.json.Decoder(Listed)
told: msgspec.json.Decoder[Told] = msgspec.json.Decoder(Told)
failure = _failure.decode


def read(kind: str, data: bytes | msgspec.Raw, *, api: str = "") -> Document:
    """An object of the kind; raises msgspec.DecodeError for what is no JSON. `api` is said of it where it does not say so itself, as an item of a list."""
    try:
        document = cast("dict[str, Any]", _objects.get(kind, _object).decode(data))
    except (
        msgspec.ValidationError
    ):  # a strange object is for whoever remembers it to pass over, and no reason to end a watch
        return dict(msgspec.json.decode(data))
    if api:
        document["apiVersion"], document["kind"] = api, kind
    if pages := document.get("metadata", {}).get("managedFields"):
        document["metadata"]["managedFields"] = [
            {**page, "fieldsV1": msgspec.json.decode(page["fieldsV1"])}
            for page in pages
            if page.get("manager") == labels.CONTROLLER and "fieldsV1" in page
        ]
    return document
