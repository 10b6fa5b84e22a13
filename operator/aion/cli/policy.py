"""`aionctl policy`: look at a policy bundle before the cluster does."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from aion.api import policy
from aion.api.shape import InvalidManifest

app = typer.Typer(help="Policy bundles.", no_args_is_help=True)


def read(path: Path) -> policy.Bundle:
    """The bundle in a YAML or JSON file; raises InvalidManifest."""
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidManifest("policy bundle", (("", f"{path} cannot be read: {error}"),)) from None
    return policy.Bundle.from_document(document)


@app.command()
def validate(file: Annotated[Path, typer.Argument(help="A bundle, YAML or JSON.")]) -> None:
    """Check a policy bundle, and print its digest and the ConfigMap that would hold it.

    Example: aionctl policy validate policies/default.yaml
    """
    try:
        bundle = read(file)
    except InvalidManifest as error:
        for path, message in error.problems:
            typer.echo(f"{file}: {path}: {message}" if path else f"{file}: {message}", err=True)
        raise typer.Exit(1) from None
    digest = policy.digest(bundle)
    typer.echo(
        f"{file}: a valid {policy.SCHEMA} bundle\ndigest     {digest}\nConfigMap  {policy.config_map_name(digest)}"
    )
