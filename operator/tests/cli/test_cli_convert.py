"""`aionctl convert`, as a person runs it."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from aion.cli.main import app

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "crds/samples"
AGENT = "kind: Agent\nmetadata: {name: researcher, version: 1.0.0}\nspec: {entry: python -m x}\n"
BROKEN = "kind: Agent\nmetadata: {name: broken, version: '1'}\nspec: {entry: python -m x}\n"


def convert(*args, stdin=None):
    return CliRunner().invoke(app, ["convert", *args], input=stdin)


@pytest.mark.parametrize("name", ["agent", "tool"])
def test_a_classic_file_becomes_an_object_and_comes_back_as_it_was(name, tmp_path):
    path = SAMPLES / f"classic/{name}.yml"
    made = convert(str(path))
    assert (made.exit_code, made.stderr) == (0, "")
    (tmp_path / "made.yaml").write_text(made.stdout)
    back = convert(str(tmp_path / "made.yaml"), "--to", "classic")
    assert (back.exit_code, back.stderr) == (0, "")
    assert yaml.safe_load(back.stdout) == yaml.safe_load(path.read_text())


def test_money_is_written_as_it_was_on_both_sides(tmp_path):
    made = convert(str(SAMPLES / "classic/agent.yml")).stdout
    assert "usdMax: '0.10'" in made
    assert "usd_max: 0.10\n" in convert("-", "--to", "classic", stdin=made).stdout


def test_several_documents_come_out_in_their_order_and_other_kinds_pass_through():
    config = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: src}\ndata:\n  agent.py: |\n    print(1)\n    print(2)\n"
    )
    made = convert("-", "-n", "tenant-a", stdin=f"{config}---\n{AGENT}---\n# nothing\n---\n{AGENT}")
    kinds = [(each["kind"], each["metadata"].get("namespace")) for each in yaml.safe_load_all(made.stdout)]
    assert kinds == [("ConfigMap", None), ("Agent", "tenant-a"), ("Agent", "tenant-a")]
    assert "  agent.py: |\n    print(1)\n    print(2)\n" in made.stdout


def test_what_a_classic_file_cannot_hold_is_told_on_stderr_and_the_rest_is_there():
    made = convert(str(SAMPLES / "researcher.yaml"), "--to", "classic")
    assert made.exit_code == 0
    assert "document 1 of 2, ConfigMap researcher-src: warning: left out" in made.stderr
    assert "document 2 of 2, Agent researcher: warning: spec.source is left out" in made.stderr
    assert yaml.safe_load(made.stdout)["spec"]["capabilities"]["network"] is True


def test_where_one_document_fails_nothing_is_printed_and_every_problem_is():
    made = convert("-", stdin=f"{AGENT}---\n{BROKEN}---\nkind: Job\n")
    assert (made.exit_code, made.stdout) == (1, "")
    assert "stdin: document 2 of 3, Agent broken: metadata.version: expected a semantic version" in made.stderr
    assert "stdin: document 3 of 3, Job: kind: got 'Job', expected Agent or Tool" in made.stderr


def test_what_kubectl_lists_is_taken_apart():
    items = f"apiVersion: v1\nkind: List\nitems:\n{_indented(AGENT)}{_indented(AGENT)}"
    made = convert("-", "--to", "classic", stdin=items.replace("kind: Agent", "apiVersion: aion.os/v1\n  kind: Agent").replace(
        "metadata: {name: researcher, version: 1.0.0}", "metadata: {name: researcher}").replace(
        "spec: {", "spec: {version: 1.0.0, "))  # fmt: skip
    assert made.stderr == ""
    assert len(list(yaml.safe_load_all(made.stdout))) == 2


def _indented(document):
    first, *rest = document.splitlines()
    return "\n".join([f"- {first}", *(f"  {line}" for line in rest), ""])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no document"),
        ("# nothing\n---\n", "holds no document"),
        ("- 1", "got a document that is a list"),
        ("[]", "got a document that is a list"),
        ("7", "got a document that is a int"),
        ("a: [", "not YAML"),
        ("kind: Agent\nkind: Tool", "the key 'kind' stands twice"),
        ("a: &a [*a]", "Circular reference"),
        ("kind: !!python/object/apply:os.system [id]", "not YAML"),
        ("[" * 1100, "not "),
    ],
)
def test_what_cannot_be_read_is_said_in_a_line_and_not_a_traceback(text, said):
    made = convert("-", stdin=text)
    assert (made.exit_code, made.stdout) == (1, "")
    assert made.stderr.startswith("stdin: ")
    assert said in made.stderr
    assert "Traceback" not in made.stderr


def test_a_file_that_is_not_there_or_not_text_is_said_so(tmp_path):
    made = convert(str(tmp_path / "no.yml"))
    assert (made.exit_code, made.stderr) == (1, f"{tmp_path}/no.yml: No such file or directory\n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    assert "codec can't decode" in convert(str(tmp_path / "bytes")).stderr


def test_a_namespace_for_a_classic_file_is_a_mistake():
    made = convert("-", "--to", "classic", "-n", "x", stdin=AGENT)
    assert made.exit_code == 2
