"""Entries: what an Agent or a Tool runs, as one string of its spec.

Apart because the API server (by the patterns here), the controller, the runner and the CLI must take the same strings.
Pure. It must never hand a string to a shell: an Agent's entry is split into argv by shell rules, and that is all.
"""

import re
import shlex
from dataclasses import dataclass
from typing import Literal

MAX_ENTRY = 4096

# Shell words: plain characters, escapes, single quotes, double quotes; no control characters, no open quote, and a
# first word that is not empty. RE2 and Rust read it alike; a property test holds it against shlex.
_PLAIN = r"[^'\"\\\x00-\x1f\x7f]"
_PIECE = rf"({_PLAIN}|\\[^\x00-\x1f\x7f]|'[^'\x00-\x1f\x7f]*'|\"([^\"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*\")"
_FIRST = (
    r"([^'\"\\ \x00-\x1f\x7f]|\\[^\x00-\x1f\x7f]|'[^'\x00-\x1f\x7f]+'|\"([^\"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])+\")"
)
AGENT_PATTERN = rf"^ *(''|\"\")*{_FIRST}{_PIECE}*$"

_SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
_MODULE = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"
TOOL_PATTERN = (
    rf"^(wasm:({_SEGMENT}/)*{_SEGMENT}\.wasm"
    rf"|rust:bin/{_SEGMENT}"
    rf"|python:{_MODULE}:[A-Za-z_][A-Za-z0-9_]*"
    rf"|mcp:{_PIECE}+"
    r"|mcp\+https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[!-~]*)?)$"
)

_AGENT = re.compile(AGENT_PATTERN)
_TOOL = re.compile(TOOL_PATTERN)

ToolKind = Literal["wasm", "native", "python", "mcp-stdio", "mcp-remote"]


@dataclass(frozen=True, slots=True)
class ToolEntry:
    """A Tool's entry, taken apart.

    wasm: `path` is the file. native: `path` is `bin/<name>`. python: `module` and `function`. mcp-stdio: `argv`.
    mcp-remote: `url`. Paths are relative to the image's working directory.
    """

    kind: ToolKind
    path: str = ""
    module: str = ""
    function: str = ""
    argv: tuple[str, ...] = ()
    url: str = ""


def parse_agent(entry: str) -> tuple[str, ...]:
    """An Agent's entry as argv, e.g. `python -m researcher` as three words; raises ValueError."""
    if len(entry) > MAX_ENTRY:
        raise ValueError(f"got an entry of {len(entry)} characters, expected at most {MAX_ENTRY}")
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in entry):
        raise ValueError("got a line break or control character in the entry, expected one line")
    try:
        words = tuple(shlex.split(entry))
    except ValueError as error:
        raise ValueError(
            f"got {entry[:80]!r}, which shell rules cannot split into words: {str(error).lower()}"
        ) from None
    if not words or not words[0] or not _AGENT.fullmatch(entry):
        raise ValueError("got an entry without a program, expected a command line such as `python -m my_agent.start`")
    return words


def parse_tool(entry: str) -> ToolEntry:
    """Take a Tool's entry apart; raises ValueError."""
    if len(entry) > MAX_ENTRY or not _TOOL.fullmatch(entry):
        raise ValueError(
            f"got entry {entry[:80]!r}, expected wasm:<path>.wasm | rust:bin/<name> | python:<module>:<function> | "
            "mcp:<command line> | mcp+https://<host>…, with paths relative and without .."
        )
    scheme, _, rest = entry.partition(":")
    if scheme == "wasm":
        return ToolEntry("wasm", path=rest)
    if scheme == "rust":
        return ToolEntry("native", path=rest)
    if scheme == "python":
        module, _, function = rest.partition(":")
        return ToolEntry("python", module=module, function=function)
    if scheme == "mcp":
        return ToolEntry("mcp-stdio", argv=parse_agent(rest))
    return ToolEntry("mcp-remote", url=entry.removeprefix("mcp+"))
