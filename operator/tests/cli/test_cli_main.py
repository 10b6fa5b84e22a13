"""aionctl as a whole: it answers at once, and names what it can do."""

import subprocess
import sys

from typer.testing import CliRunner

from aion.cli.main import app

HEAVY = ("fastapi", "kopf", "kubernetes", "redis", "uvicorn", "wasmtime")


def test_help_names_the_commands_and_where_to_begin():
    said = CliRunner().invoke(app, ["--help"]).stdout
    assert all(word in said for word in ("convert", "crds", "policy", "version", "aionctl convert agent.yml"))


def test_no_command_at_all_shows_the_help():
    assert "Usage" in CliRunner().invoke(app, []).output


def test_the_version_is_the_distributions():
    done = CliRunner().invoke(app, ["version"])
    assert (done.exit_code, done.stdout.count(".")) == (0, 2)


def test_nothing_heavy_is_loaded_before_a_command_needs_it():
    code = f"import sys, aion.cli.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
