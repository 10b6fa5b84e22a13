"""The chapters of crds/ and policies/: what they explain is all there is, and their commands work."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from aion.api import conditions, crds, syscall

ROOT = Path(__file__).resolve().parents[3]
KIND_PAGES = [ROOT / f"crds/{kind.names.singular}.md" for kind in crds.KINDS]
CHAPTERS = [ROOT / "crds/README.md", ROOT / "policies/README.md"]
PAGES = [*CHAPTERS, *KIND_PAGES, ROOT / "sdk/contract/README.md"]
WRITTEN = {  # the kinds whose conditions a controller writes today, and what it may say of each
    "agent": set(conditions.TYPES) - {"InUse"},
    "tool": {"Ready", "Reconciling", "Stalled", "Accepted", "ProfileReady", "Suspended", "InUse"},
    "policy": {"Ready", "Stalled", "Accepted"},
    "tenant": {"Ready", "Reconciling", "Stalled", "Accepted"},
    "sandboxprofile": {"Ready"},
}


def pages(paths):
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


def explained(page, title):
    """First column -> the rest of the row, in the tables of this title."""
    rows, inside = {}, False
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        inside = line.startswith("|") and (inside or cells[0] == title)
        if inside and cells[0].startswith("`"):
            rows[cells[0].strip("`")] = cells[1:]
    return rows


def console(path):
    """The commands of a page that need no cluster."""
    blocks = re.findall(r"```console\n(.*?)```", path.read_text(), re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def test_every_reason_is_explained_on_some_page_and_no_other_is():
    told = {reason for page in KIND_PAGES for reason in explained(page, "Reason")}
    assert told == conditions.REASONS


def test_a_reason_that_asks_for_an_action_says_which():
    said = explained(ROOT / "crds/agent.md", "Reason")
    quiet = {reason for reason, (_, act) in said.items() if not act}
    assert quiet == {"Valid", "Running", "Serving", "Scheduled", "ProfileInstalled", "AllFound"}


@pytest.mark.parametrize("kind", sorted(WRITTEN))
def test_every_condition_of_a_kind_is_explained_on_its_page(kind):
    assert set(explained(ROOT / f"crds/{kind}.md", "Condition")) == WRITTEN[kind]


def test_every_syscall_that_an_agent_may_name_stands_on_its_page():
    text = (ROOT / "crds/agent.md").read_text()
    assert [name for name in syscall.NAMES if f"`{name}`" not in text] == []


@pytest.mark.parametrize("page", pages(KIND_PAGES))
def test_the_example_of_a_page_is_taken(page):
    (first, *_) = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    document = yaml.safe_load(first)
    kind = next(kind for kind in crds.KINDS if kind.names.kind == document["kind"])
    assert page.stem == kind.names.singular
    kind.from_file(document)


def test_the_policy_that_the_chapter_shows_is_a_policy():
    from aion.api.policy import Bundle

    (shown,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "policies/README.md").read_text(), re.DOTALL)
    rules = Bundle.from_document({"schema": "aion.policy.v1", **yaml.safe_load(shown)["policy"]}).capabilities
    assert rules.refuse("tool.invoke", tenant="tenant-b") is None
    assert rules.refuse("network", tenant="tenant-b")
    assert rules.refuse("model.generate", tenant="tenant-a") == "policy.capabilities.deny: model.generate"
    assert rules.refuse_tool("send_mail", tenant="tenant-b")


@pytest.mark.parametrize("page", pages(PAGES))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[a-z-]+)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", pages(PAGES))
def test_what_a_page_names_in_the_repository_is_there(page):
    named = re.findall(
        r"(?:crds|sdk|operator|policies|charts|sandbox-profiles)/[A-Za-z0-9_./-]*[A-Za-z0-9_]", page.read_text()
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", pages(CHAPTERS))
def test_the_commands_of_a_chapter_that_need_no_cluster_work(page, tmp_path):
    (tmp_path / "aionctl").write_text(f'#!/bin/sh\nexec {sys.executable} -m aion.cli.main "$@"\n')
    (tmp_path / "aionctl").chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert console(page)
    for command in console(page):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
