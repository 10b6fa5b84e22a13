"""`aionctl convert`: classic agent.yml and tool.yml to Kubernetes objects, and back.

Apart from `aion.api.classic`, which decides, because here is only YAML: numbers keep the digits that were written, a key
that stands twice is refused. It must never print half a result: where one document fails, nothing goes to stdout.
"""

import json
import re
import sys
from collections.abc import Hashable, Iterator
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from aion.api import classic
from aion.api.shape import InvalidManifest


class Form(StrEnum):
    """What to make."""

    KUBERNETES = "kubernetes"
    CLASSIC = "classic"


class Unreadable(ValueError):  # noqa: N818 - it is what the file is
    """A file that is not YAML, or holds something other than documents. The message is for a person."""


class _Loader(yaml.SafeLoader):
    """YAML as a person wrote it: 0.10 stays 0.10, a date stays its text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """One mapping; raises ConstructorError for a key that stands twice."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} stands twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _number(loader: _Loader, node: yaml.ScalarNode) -> Decimal | float:
    if re.fullmatch(r"[-+]?[0-9]+\.[0-9]*([eE][-+]?[0-9]+)?", node.value):
        return Decimal(node.value)
    return loader.construct_yaml_float(node)


def _words(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:float", _number)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _words)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _written(dumper: _Dumper, value: Decimal) -> yaml.ScalarNode:
    text = format(value, "f")
    return dumper.represent_scalar("tag:yaml.org,2002:" + ("float" if "." in text else "int"), text)


_Dumper.add_representer(Decimal, _written)
_Dumper.add_representer(
    str,
    lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None),
)


def convert(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file of one or more documents; `-` is stdin.")],
    *,
    to: Annotated[Form, typer.Option(help="What to make.")] = Form.KUBERNETES,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The namespace of the Kubernetes objects.")] = "",
) -> None:
    """Turn classic agent.yml and tool.yml files into Kubernetes objects, and back.

    What the other form cannot say is told on stderr. Comments are not carried over.

    Example: aionctl convert agent.yml -n tenant-a | kubectl apply -f -
    """
    if namespace and to is Form.CLASSIC:
        raise typer.BadParameter("a classic file's namespace is its own: use --namespace with --to kubernetes")
    where = "stdin" if file == "-" else file
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        documents = read(data.decode())
    except (OSError, UnicodeDecodeError, Unreadable) as error:
        typer.echo(f"{where}: {error.strerror if isinstance(error, OSError) else error}", err=True)
        raise typer.Exit(1) from None
    made, failed = [], False
    for number, document in enumerate(documents, 1):
        at = f"{where}: {_title(document, number=number, of=len(documents))}"
        try:
            result, notes = one(document, to=to, namespace=namespace)
        except InvalidManifest as error:
            failed = True
            for path, message in error.problems:
                typer.echo(f"{at}: {path}: {message}" if path else f"{at}: {message}", err=True)
            continue
        for note in notes:
            typer.echo(f"{at}: warning: {note}", err=True)
        made += [result] if result is not None else []
    if failed:
        raise typer.Exit(1)
    typer.echo(write(made), nl=False)


def read(text: str) -> list[dict[str, Any]]:
    """The documents of a file, empty ones left out, a List's items one by one; raises Unreadable."""
    try:
        found = [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
    except yaml.YAMLError as error:
        raise Unreadable(f"not YAML: {error}") from None
    except RecursionError:
        raise Unreadable("not a document: nested too deep") from None
    documents = [item for document in found for item in _items(document)]
    if not documents:
        raise Unreadable("holds no document")
    for document in documents:
        if not isinstance(document, dict):
            said = type(document).__name__
            raise Unreadable(f"got a document that is a {said}, expected a mapping with kind and spec")
    try:
        json.dumps(documents, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unreadable(f"not a document of plain values: {error}") from None
    return documents


def _items(document: Any) -> list[Any]:  # noqa: ANN401 - as YAML gave it
    """`kubectl get agents -o yaml` gives one document of kind List."""
    if isinstance(document, dict) and document.get("kind") in ("List", "AgentList", "ToolList"):
        return list(document.get("items") or [])
    return [document]


def one(document: dict[str, Any], *, to: Form, namespace: str = "") -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """Convert one document; raises InvalidManifest. None where the other form has nothing like it, with a note."""
    kind = document.get("kind")
    if str(kind) not in classic.KINDS and "apiVersion" in document:
        if to is Form.KUBERNETES:
            return document, ()
        return None, (f"left out: a classic file holds agents and tools, and this is a {kind}",)
    converted = (
        classic.to_kind(document, namespace=namespace) if to is Form.KUBERNETES else classic.to_classic(document)
    )
    return converted.document, converted.notes


def write(documents: list[dict[str, Any]]) -> str:
    """The documents as YAML."""
    return "---\n".join(_lines(documents))


def _lines(documents: list[dict[str, Any]]) -> Iterator[str]:
    for document in documents:
        yield yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def _title(document: dict[str, Any], *, number: int, of: int) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    which = f"document {number} of {of}, " if of > 1 else ""
    return f"{which}{document.get('kind', 'no kind')} {name}".rstrip()
