"""What the server says is ours in an object, as its shape: so that a hand in one of our fields is seen, whatever the labels say. Pure.

Apart from the views because it reads the server's own bookkeeping: with server-side apply it notes which manager set which field last. Whoever changes or
removes a field that we applied takes it from us, and whoever adds one, or fills in a default, does not. So an object stands as we left it exactly
while the fields that are ours have the shape of the document that we would apply: no value need be compared, and neither "1000m" that is stored as "1"
nor a webhook that changes what we send makes it look edited. No write of ours is remembered, so that a fresh process knows as much as an old one.
An empty map is the one thing to keep out of what we apply: it is ours as a whole, and whatever others put into it would look like a hand in ours.
It must never count a field that somebody else added, nor know one kind from another.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from aion.api import labels

Document: TypeAlias = Mapping[str, Any]

_NAMES = frozenset({"apiVersion", "kind", "name", "namespace"})
"""What an object is called belongs to nobody; at its top and in its metadata these are passed over."""


def sent(document: Document) -> str:
    """The shape of a document that we would apply: its names without its values. What is empty has none: the server may leave it out."""
    body = {name: value for name, value in document.items() if name not in _NAMES}
    body["metadata"] = {name: value for name, value in document["metadata"].items() if name not in _NAMES}
    return _of(body)


def held(document: Document) -> str:
    """The shape of what is ours in an object as it is; empty where nothing is, or where nobody keeps books."""
    books = _books(document)
    return _taken(document, books) if books else ""


def sent_pod(document: Document) -> str:
    """`sent` of a Pod, as far as anybody can change one: its labels, annotations, owners and images."""
    meta, containers = document["metadata"], document["spec"]["containers"]
    return _pod(
        meta["labels"], meta.get("annotations") or (), owners=len(meta["ownerReferences"]), images=len(containers)
    )


def held_pod(document: Document) -> str:
    """`held` to go with `sent_pod`. A Pod is large and tells of itself often: only the books are read."""
    books = _books(document)
    meta, containers = books.get("f:metadata") or {}, (books.get("f:spec") or {}).get("f:containers") or {}
    worn, noted = ([path[2:] for path in meta.get(part) or () if path != "."] for part in ("f:labels", "f:annotations"))
    images = sum("f:image" in inner for inner in containers.values())
    return _pod(worn, noted, owners=len(meta.get("f:ownerReferences") or ()), images=images)


def _pod(worn: Iterable[str], noted: Iterable[str], *, owners: int, images: int) -> str:
    return f"{','.join(sorted(worn))};{','.join(sorted(noted))};{owners};{images}"


def _books(document: Document) -> Document:
    """What we own in an object, in the server's notation."""
    for entry in document["metadata"].get("managedFields") or ():
        ours = entry.get("manager") == labels.CONTROLLER and entry.get("operation") == "Apply"
        if ours and not entry.get("subresource"):
            return dict(entry.get("fieldsV1") or {})
    return {}


def _of(value: object) -> str:
    if isinstance(value, Mapping):
        return _fields({name: _of(each) for name, each in value.items()})
    return _items([_of(each) for each in value]) if isinstance(value, list) else ""


def _taken(value: object, fields: Document) -> str:
    """Of `value` what `fields` names, in the server's notation: `f:` a field, `k:` an item by its keys, `v:` an item by its value, `.` itself."""
    named = {path: inner for path, inner in fields.items() if path != "."}
    if not named:
        return _of(value)  # the whole of it is ours
    if isinstance(value, Mapping):
        return _fields({path[2:]: _taken(value.get(path[2:]), inner) for path, inner in named.items()})
    items = value if isinstance(value, list) else []
    return _items([_taken(_item(items, path), inner) for path, inner in named.items()])


def _item(items: list[Any], path: str) -> object:
    """The item of a list that the server names by its keys, or by its value; None where it is not there."""
    wanted = json.loads(path[2:])
    if path.startswith("v:"):
        return wanted
    return next((each for each in items if all(each.get(name) == value for name, value in wanted.items())), None)


def _fields(shapes: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{name}{shapes[name]}" for name in sorted(shapes)) + "}" if shapes else ""


def _items(shapes: list[str]) -> str:
    """Sorted: a merged list may stand in another order than it was sent in."""
    return "[" + ",".join(sorted(shapes)) + "]" if shapes else ""
