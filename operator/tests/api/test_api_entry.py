"""Entries: what is taken, and that the pattern for the API server takes the same."""

import re
import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aion.api import entry

LETTERS = "ab -'\"\\$é=/.\t\n"


def as_the_api_server_reads(text):
    return re.search(entry.AGENT_PATTERN, text) is not None and not text.endswith("\n")


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("python -m my_agent.start", ("python", "-m", "my_agent.start")),
        ('run --mode "deep dive"', ("run", "--mode", "deep dive")),
        ("  run  x ", ("run", "x")),
        ('run \'a\\b\' "c\\"d" e\\ f', ("run", "a\\b", 'c"d', "e f")),
        ("run $HOME | cat && rm", ("run", "$HOME", "|", "cat", "&&", "rm")),
        ("run # not a comment", ("run", "#", "not", "a", "comment")),
        ("'my agent' ''", ("my agent", "")),
    ],
)
def test_an_agents_entry_is_split_by_shell_rules_and_nothing_is_expanded(text, argv):
    assert entry.parse_agent(text) == argv


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "without a program"),
        ("   ", "without a program"),
        ("''", "without a program"),
        ("'' x", "without a program"),
        ("run 'x", "no closing quotation"),
        ('run "x', "no closing quotation"),
        ("run x\\", "no escaped character"),
        ("run\nx", "line break"),
        ("run\tx", "control character"),
        ("x" * 4097, "at most 4096"),
    ],
)
def test_an_entry_that_cannot_be_split_says_why(text, said):
    with pytest.raises(ValueError, match=said):
        entry.parse_agent(text)


@given(st.text(alphabet=LETTERS, max_size=24))
@example("''''x")
@example('"\\""')
def test_the_pattern_takes_exactly_what_shell_rules_can_split(text):
    try:
        words = shlex.split(text)
        splits = bool(words and words[0]) and not any(ord(letter) < 0x20 for letter in text)
    except ValueError:
        splits = False
    assert as_the_api_server_reads(text) is splits
    try:
        assert list(entry.parse_agent(text)) == words
    except ValueError:
        assert not splits


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("wasm:tools/web_search.wasm", entry.ToolEntry("wasm", path="tools/web_search.wasm")),
        ("rust:bin/word_count", entry.ToolEntry("native", path="bin/word_count")),
        ("python:tools.dates:difference", entry.ToolEntry("python", module="tools.dates", function="difference")),
        ("mcp:npx 'a b'", entry.ToolEntry("mcp-stdio", argv=("npx", "a b"))),
        ("mcp+https://mcp.example.org/sse", entry.ToolEntry("mcp-remote", url="https://mcp.example.org/sse")),
        ("mcp+http://localhost:8080", entry.ToolEntry("mcp-remote", url="http://localhost:8080")),
    ],
)
def test_a_tools_entry_is_taken_apart(text, parsed):
    assert entry.parse_tool(text) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "", "wasm:", "wasm:a", "wasm:/abs.wasm", "wasm:../up.wasm", "wasm:a/../b.wasm", "wasm:a//b.wasm", "wasm:.hidden.wasm",
        "rust:word_count", "rust:bin/", "rust:bin/../sh", "rust:bin/a/b", "python:tools.dates", "python:tools:a-b", "python::f",
        "python:a..b:f", "mcp:", "mcp:'open", "mcp+ftp://x", "mcp+https://", "mcp+https://x:port", "go:bin/x", "web_search",
        "wasm:a.wasm\n", "mcp+https://x/a b",
    ],
)  # fmt: skip
def test_any_other_entry_is_refused_with_the_forms_there_are(text):
    with pytest.raises(ValueError, match="expected"):
        entry.parse_tool(text)
