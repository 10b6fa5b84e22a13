"""`aionctl crds`: write the CRDs and the chart's copy from the models, or check that they are what the models say."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from aion.api import crds as definitions
from aion.api import labels

HEADER = "# Generated from aion.api by `aionctl crds generate`. Change the models, not this file.\n"
FOLDERS = ("crds", "charts/aion-os/crds")

app = typer.Typer(help="The CustomResourceDefinitions of AION-OS.", no_args_is_help=True)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def render() -> dict[str, str]:
    """File name -> content, for every kind."""
    return {
        f"{labels.GROUP}_{kind.names.plural}.yaml": HEADER
        + yaml.dump(definitions.definition(kind), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
        for kind in definitions.KINDS
    }


def differences(root: Path) -> list[str]:
    """What stands under `root` and is not what the models say, one line each."""
    wanted = render()
    found = []
    for folder in FOLDERS:
        at = root / folder
        for name, content in wanted.items():
            path = at / name
            if not path.is_file():
                found.append(f"{folder}/{name} is missing")
            elif path.read_text() != content:
                found.append(f"{folder}/{name} differs from the models")
        strays = {path.name for path in at.glob(f"{labels.GROUP}_*.yaml")} - wanted.keys()
        found += [f"{folder}/{name} belongs to no kind" for name in sorted(strays)]
    return found


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
    """Write crds/ and charts/aion-os/crds/ from the models.

    Example: aionctl crds generate --check
    """
    at = root or checkout()
    if check:
        found = differences(at)
        for line in found:
            typer.echo(line, err=True)
        if found:
            typer.echo("run `aionctl crds generate` and commit what it writes", err=True)
            raise typer.Exit(1)
        return
    wanted = render()
    for folder in FOLDERS:
        (at / folder).mkdir(parents=True, exist_ok=True)
        for stray in (at / folder).glob(f"{labels.GROUP}_*.yaml"):
            if stray.name not in wanted:
                stray.unlink()
        for name, content in wanted.items():
            (at / folder / name).write_text(content)
            typer.echo(f"{folder}/{name}")
