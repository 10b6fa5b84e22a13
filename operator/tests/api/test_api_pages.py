"""The kinds' pages tell all: an example that is taken, every condition and reason, and how to debug."""

import re

import pytest
import sample_files as samples
import yaml

from aion.api import conditions

PAGES = {name: samples.ROOT / f"crds/{name.lower()}.md" for name in samples.KINDS}
WORD = re.compile(r"`([A-Z][A-Za-z]+)`")


def chapters(kind: str) -> dict[str, str]:
    """Heading to text, of one page."""
    parts = re.split(r"^#{2,3} (.+)$", PAGES[kind].read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def told(kind: str, chapter: str) -> set[str]:
    """The words that a chapter explains: the first cell of each row, and those that another page explains."""
    lines = chapters(kind)[chapter].splitlines()
    rows = [line.split("|")[1] for line in lines if line.startswith("| `")]
    elsewhere = "\n".join(lines).rpartition("|\n")[2] if "mean what they mean" in "\n".join(lines) else ""
    return set(WORD.findall("\n".join(rows))) | set(WORD.findall(elsewhere))


KINDS = [pytest.param(kind, id=kind) for kind in PAGES]


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_has_an_example_its_fields_its_conditions_and_how_to_debug(kind):
    there = chapters(kind)
    assert {"Example", "Field by field", "How to debug", "Status", "Conditions", "Reasons"} <= there.keys()
    assert "kubectl" in there["How to debug"]
    assert "| what you see |" in there["How to debug"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_pages_example_is_what_the_models_take(kind):
    (document,) = samples.examples(PAGES[kind])
    assert document["kind"] == kind
    assert samples.problems(document) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_names_no_condition_and_no_reason_that_there_is_not(kind):
    assert told(kind, "Conditions") <= set(conditions.TYPES)
    assert told(kind, "Reasons") <= conditions.REASONS


def test_every_condition_and_every_reason_stands_on_a_page():
    assert set().union(*(told(kind, "Conditions") for kind in PAGES)) == set(conditions.TYPES)
    assert set().union(*(told(kind, "Reasons") for kind in PAGES)) == conditions.REASONS


def test_what_a_page_leaves_to_the_agents_page_is_explained_there():
    explained = {line.split("`")[1] for line in chapters("Agent")["Reasons"].splitlines() if line.startswith("| `")}
    assert (
        told("Tool", "Reasons")
        - {line.split("`")[1] for line in chapters("Tool")["Reasons"].splitlines() if line.startswith("| `")}
        <= explained
    )


def test_the_chapter_leads_to_every_page():
    chapter = (samples.ROOT / "crds/README.md").read_text()
    assert all(f"({page.name})" in chapter for page in PAGES.values())
    names = yaml.safe_load((samples.ROOT / "crds/aion.os_agents.yaml").read_text())["spec"]["names"]
    assert names["shortNames"] == ["ag"]
