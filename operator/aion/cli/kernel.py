"""`aionctl kernel`: a kernel for people who write agents, on their own machine.

Only the command line: what it starts is `laptop`, imported when it is asked for. It must never be what serves a cluster.
"""

from pathlib import Path
from typing import Annotated

import typer

from aion.api import ids

DEFAULT_KEY = "tenantA=TENANT_A_SECRET"
DEFAULT_PORT = 8010

app = typer.Typer(name="kernel", help="A kernel on this machine.", no_args_is_help=True)


@app.callback()
def kernel() -> None:
    """A kernel on this machine, without Kubernetes and without Redis."""


@app.command()
def dev(
    *,
    key: Annotated[
        list[str] | None,
        typer.Option(metavar="TENANT=SECRET", help=f"A tenant and its secret; may be repeated. Else {DEFAULT_KEY}."),
    ] = None,
    tools: Annotated[
        Path | None, typer.Option(exists=True, metavar="DIR", help="A folder of Tool manifests, or one file.")
    ] = None,
    files: Annotated[
        Path, typer.Option(exists=True, file_okay=False, metavar="DIR", help="Where the files of their entries lie.")
    ] = Path(),
    search_url: Annotated[
        str,
        typer.Option(metavar="URL", help="A SearxNG-compatible server for web_search, such as http://127.0.0.1:8888."),
    ] = "",
    model_url: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="An OpenAI-compatible server for model.generate, such as http://127.0.0.1:11434/v1; "
            "its key, if it wants one, in AION_MODEL_KEY.",
        ),
    ] = "",
    policy: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="A policy bundle. Else all is allowed, and no host reached.",
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port on localhost; 0 takes a free one.")
    ] = DEFAULT_PORT,
) -> None:
    """Run a kernel here, for writing agents against: what runs, an example to copy, and each syscall as a line.

    Each Tool runs in a process of its own, unconfined. Nothing is kept when it ends.

    Example: aionctl kernel dev --tools crds/samples --files sdk/tools/dist --search-url http://127.0.0.1:8888
    """
    keys = dict(_pair(each) for each in key or [DEFAULT_KEY])

    from aion.cli import laptop

    wishes = laptop.Wishes(
        keys=keys,
        shown_secret="the secret that you gave" if key else next(iter(keys.values())),
        port=port,
        tools=tools,
        files=files.resolve(),
        search_url=search_url,
        policy=policy,
        model_url=model_url,
    )
    try:
        laptop.run(wishes, say=typer.echo)
    except laptop.CannotStart as cannot:
        typer.echo(str(cannot), err=True)
        raise typer.Exit(1) from None


def _pair(text: str) -> tuple[str, str]:
    tenant, equals, secret = text.partition("=")
    if not equals or not secret or not ids.is_tenant(tenant):
        raise typer.BadParameter(f"got {text!r}, expected TENANT=SECRET, such as {DEFAULT_KEY}", param_hint="--key")
    return tenant, secret
