"""`aionctl crds` and `aionctl policy`, as a person runs them."""

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from aion.cli import crds, fieldtables
from aion.cli.main import app

ROOT = Path(__file__).resolve().parents[3]


def run(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def checkout(tmp_path):
    """A copy of what generating reads and writes."""
    for folder in ("crds", "charts/aion-os", "policies"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


def test_what_is_generated_is_what_is_committed():
    done = run("crds", "generate", "--check")
    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("crds/aion.os_agents.yaml", "differs from the models"),
        ("charts/aion-os/crds/aion.os_tools.yaml", "differs from the models"),
        ("charts/aion-os/files/policy.yaml", "differs from policies/default.yaml"),
        ("crds/agent.md", "differs from the models"),
        ("policies/README.md", "differs from the models"),
    ],
)
def test_a_file_that_was_edited_by_hand_is_named_and_mended(checkout, path, said):
    before = (checkout / path).read_text()
    (checkout / path).write_text(
        before.replace("**required**", "**optional**", 1) if path.endswith(".md") else before + "# mine\n"
    )
    done = run("crds", "generate", "--check", "--root", checkout)
    assert (done.exit_code, done.stderr) == (
        1,
        f"{path} {said}\nrun `aionctl crds generate` and commit what it writes\n",
    )
    assert run("crds", "generate", "--root", checkout).exit_code == 0
    assert (checkout / path).read_text() == before
    assert run("crds", "generate", "--check", "--root", checkout).exit_code == 0


def test_a_missing_file_is_made_and_one_of_no_kind_is_removed(checkout):
    (checkout / "crds/aion.os_agents.yaml").unlink()
    (checkout / "charts/aion-os/crds/aion.os_robots.yaml").write_text("{}")
    said = run("crds", "generate", "--check", "--root", checkout).stderr.splitlines()
    assert said[:2] == [
        "crds/aion.os_agents.yaml is missing",
        "charts/aion-os/crds/aion.os_robots.yaml belongs to no kind",
    ]
    run("crds", "generate", "--root", checkout)
    assert crds.differences(checkout) == []


def test_prose_around_a_table_is_left_alone(checkout):
    page = checkout / "crds/agent.md"
    page.write_text(page.read_text().replace("One AI agent:", "An agent:"))
    run("crds", "generate", "--root", checkout)
    assert page.read_text().count("An agent: what it runs") == 1


def test_a_folder_that_is_no_checkout_is_said_so(tmp_path):
    done = run("crds", "generate", "--check", "--root", tmp_path)
    assert done.exit_code == 1
    assert "policies/default.yaml: No such file or directory" in done.stderr
    assert "is" in done.stderr


def test_a_generated_file_says_so_and_is_yaml():
    for name, text in crds.render().items():
        assert text.startswith("# Generated from aion.api")
        assert yaml.safe_load(text)["kind"] == "CustomResourceDefinition"
        assert name == f"aion.os_{yaml.safe_load(text)['spec']['names']['plural']}.yaml"


def test_every_page_has_the_tables_of_its_models():
    for path, models in crds.PAGES.items():
        assert fieldtables.names((ROOT / path).read_text()) == list(models)


def test_a_table_tells_form_default_and_meaning_from_the_model():
    text = fieldtables.block("spec", crds.PAGES["crds/agent.md"]["spec"])
    assert "| `priority` | a whole number, 0 to 9 | `5` | 7 to 9 is high" in text
    assert "| `entry` | a command line such as python -m my_agent.start | **required** | The command line." in text
    assert "| `podTemplate.env[].name` |" in text
    bundle = fieldtables.block("bundle", crds.PAGES["policies/README.md"]["bundle"])
    assert "| `capabilities.by_tool.NAME.deny` |" in bundle
    assert "| `memory.gc.high` | a number above 0, up to 1 | `0.85` |" in bundle


def test_a_policy_is_validated_with_its_digest_or_with_every_mistake(tmp_path):
    done = run("policy", "validate", ROOT / "policies/default.yaml")
    assert (done.exit_code, done.stdout.count("aion-policy-")) == (0, 1)
    bad = tmp_path / "bad.yaml"
    bad.write_text("schema: aion.policy.v1\nlimits: {max_concurrency: many, offline: 3}\n")
    done = run("policy", "validate", bad)
    assert (done.exit_code, done.stdout) == (1, "")
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == ["limits.max_concurrency", "limits.offline"]
    assert run("policy", "validate", tmp_path / "none.yaml").exit_code == 1
