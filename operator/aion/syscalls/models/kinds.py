"""What each kind of backend must translate, and nothing else of it differs.

Apart so that the rim knows no dialect and a dialect knows no rim. A kind is pure: a request becomes the path, headers and
body of its dialect; an answer, or the events of a stream, become ours. It must never see a key but to say in which header
it goes.
"""

from typing import Annotated, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from aion.api import errors
from aion.api.generation import Chunk, FinishReason, Message, Request, Usage
from aion.api.grant import Backend
from aion.syscalls.models import frames

Count = Annotated[int, Meta(ge=0, le=1 << 40)]
"""Tokens, as a backend says. Less than nothing would pay whoever asked; more than a record holds is no number of tokens."""


class Ask(NamedTuple):
    """One HTTP request to a backend: what to append to its URL, and the body. Headers beside content-type and the key."""

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Answer(NamedTuple):
    """What a backend said as a whole. `usage` is None where it did not count."""

    message: Message
    finish_reason: FinishReason
    model: str
    usage: Usage | None


class Reader(Protocol):
    """Reads one stream, event by event."""

    model: str
    usage: Usage | None
    """As far as the backend has said; None before."""
    tokens_in: int | None
    """The question's tokens, where they are said before the end."""
    finished: bool
    """Did the answer come to its end?"""
    bare_usage: bool
    """Did the last event say the usage and nothing else?"""

    def read(self, event: bytes) -> Chunk | None:
        """What one whole event says, None where it is nothing for the caller; raises UpstreamFailed."""


class Kind(Protocol):
    """One dialect of backends."""

    dialect: str
    """What its streams are written in, for callers who read the same; empty where no caller does."""

    def ask(self, request: Request, *, backend: Backend, model: str, max_tokens: int) -> Ask:
        """Write a question; raises BadParams for what cannot be said in this dialect."""

    def authorize(self, key: str) -> tuple[str, str]:
        """The header that carries the key."""

    def answer(self, body: bytes) -> Answer:
        """Read a whole answer; raises UpstreamFailed."""

    def frames(self) -> "frames.Events | frames.Lines":
        """How its streams are cut."""

    def reader(self) -> Reader:
        """A reader of one stream."""


def unreadable(why: object) -> errors.UpstreamFailed:
    """The answer is not what this kind of backend answers."""
    return errors.UpstreamFailed(f"the backend's answer cannot be read: {str(why)[:200]}")


def words(body: bytes) -> str:
    """What an error answer says: `error.message`, `error`, `message` or `detail`, or the text as it is."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return body.decode(errors="replace").strip()
    for _ in range(3):
        if not isinstance(said, dict):
            break
        said = next((said[name] for name in ("error", "message", "detail") if said.get(name)), "")
    return said if isinstance(said, str) else msgspec.json.encode(said).decode()


def of(kind: str) -> Kind:
    """The kind of a backend."""
    from aion.syscalls.models import anthropic, ollama, openai

    known: dict[str, Kind] = {"openai": openai.OpenAI(), "ollama": ollama.Ollama(), "anthropic": anthropic.Anthropic()}
    return known[kind]
