"""`aionctl crds`: write what follows from the models, or check that it does.

That is the CRDs and the chart's copy of them, the chart's copy of the default policy, and the tables of fields in the
pages that people read. It must never write a file that no model or source stands behind.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import BaseModel

from aion.api import crds as definitions
from aion.api import labels
from aion.api.policy import Bundle
from aion.cli import fieldtables

HEADER = "# Generated from aion.api by `aionctl crds generate`. Change the models, not this file.\n"
FOLDERS = ("crds", "charts/aion-os/crds")
POLICY, POLICY_COPY = "policies/default.yaml", "charts/aion-os/files/policy.yaml"
PAGES: Mapping[str, Mapping[str, type[BaseModel]]] = {
    "policies/README.md": {"bundle": Bundle},
    **{
        f"crds/{kind.names.singular}.md": {
            "spec": definitions.part(kind, "spec"),
            "status": definitions.part(kind, "status"),
        }
        for kind in definitions.KINDS
    },
}
"""The pages with tables of fields, and the models behind each table."""

app = typer.Typer(
    help="The CustomResourceDefinitions of AION-OS, and what else follows from the models.", no_args_is_help=True
)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


@cache
def render() -> Mapping[str, str]:
    """File name -> content, for every kind."""
    return {
        f"{labels.GROUP}_{kind.names.plural}.yaml": HEADER
        + yaml.dump(definitions.definition(kind), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
        for kind in definitions.KINDS
    }


def wanted(root: Path) -> dict[str, str]:
    """Path under `root` -> content, for everything that is generated; raises OSError where a source is missing."""
    made = {f"{folder}/{name}": content for folder in FOLDERS for name, content in render().items()}
    made[POLICY_COPY] = (root / POLICY).read_text()
    for page, models in PAGES.items():
        made[page] = fieldtables.fill((root / page).read_text(), models)
    return made


def strays(root: Path) -> list[Path]:
    """CRD files that belong to no kind any more."""
    return [
        path
        for folder in FOLDERS
        for path in sorted((root / folder).glob(f"{labels.GROUP}_*.yaml"))
        if path.name not in render()
    ]


def differences(root: Path) -> list[str]:
    """What stands under `root` and is not what the models say, one line each."""
    found = []
    for path, content in wanted(root).items():
        at = root / path
        if not at.is_file():
            found.append(f"{path} is missing")
        elif at.read_text() != content:
            found.append(f"{path} differs from {POLICY if path == POLICY_COPY else 'the models'}")
    return found + [f"{path.relative_to(root)} belongs to no kind" for path in strays(root)]


def checkout() -> Path:
    """The repository's root, seen from here; the working directory where this is an installed package."""
    above = [folder for folder in Path(__file__).resolve().parents if (folder / "crds").is_dir()]
    return above[0] if above else Path.cwd()


@app.command()
def generate(
    *,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where a file differs.")] = False,
    root: Annotated[Path | None, typer.Option(help="The repository's root.")] = None,
) -> None:
    """Write the CRDs, the chart's copies and the pages' tables of fields.

    Example: aionctl crds generate --check
    """
    at = root or checkout()
    try:
        made = wanted(at)
        found = differences(at)
    except OSError as error:
        typer.echo(f"{error.filename}: {error.strerror}: is {at} the repository's root?", err=True)
        raise typer.Exit(1) from None
    if check:
        for line in found:
            typer.echo(line, err=True)
        if found:
            typer.echo("run `aionctl crds generate` and commit what it writes", err=True)
            raise typer.Exit(1)
        return
    for stray in strays(at):
        stray.unlink()
    for path, content in made.items():
        (at / path).parent.mkdir(parents=True, exist_ok=True)
        (at / path).write_text(content)
        typer.echo(path)
