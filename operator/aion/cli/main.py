"""aionctl: one command for agent authors and operators; as `kubectl-aion` on the PATH it is `kubectl aion`.

Only the assembly: each group of commands is a module with its own `app`. A module may import heavy things (a cluster
client, a kernel) only inside the command that needs them, so that `aionctl --help` answers at once.
"""

from importlib import metadata

import typer

from aion.cli import audit, convert, crds, kernel, policy

app = typer.Typer(
    name="aionctl",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Work with AION-OS, the operating system for AI agents on Kubernetes.

Turn a classic agent.yml or tool.yml into a Kubernetes object, and back:

    aionctl convert agent.yml > agent.yaml

    aionctl convert agent.yaml --to classic

Check a policy bundle before the cluster does:

    aionctl policy validate policies/default.yaml

Check that no audit record was changed or dropped:

    aionctl audit verify

Run a kernel on this machine, without a cluster:

    aionctl kernel dev
""",
)
app.command("convert")(convert.convert)
app.add_typer(audit.app, name="audit")
app.add_typer(crds.app, name="crds")
app.add_typer(kernel.app, name="kernel")
app.add_typer(policy.app, name="policy")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(metadata.version("aion-os"))


if __name__ == "__main__":
    app()
