"""The face of every dialect in which models are asked: read, ask the router, write. What differs is a `Dialect`.

Apart because OpenAI's two and Anthropic's differ in their words and in nothing that is done. Whatever key a client sends is
not looked at: who calls is known by the socket, and what a backend is told is the gateway's own. It must never ask a
backend, nor choose one: that is `model.generate`, with its policy, budget and record.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from aion.api import errors, generation, syscall
from aion.api.generation import Generated
from aion.dialects.streaming import Writer
from aion.dialects.wire import JSON, Answer, Headers, Request, Streamed
from aion.syscalls.call import Caller
from aion.syscalls.router import Reply, Router

_encode = msgspec.json.Encoder().encode
_generated = msgspec.json.Decoder(Generated)


class About(NamedTuple):
    """What an answer says of itself. `id` is the call's in the audit, `created` in seconds, `model` whatever answered."""

    id: str
    created: int
    model: str


class Said(NamedTuple):
    """A failure in a dialect: its HTTP status and its document."""

    status: int
    document: dict[str, Any]


Question = TypeVar("Question")
"""A request as the dialect has it; some of it is said again in the answer."""


class Dialect(Protocol[Question]):
    """One dialect. Pure."""

    path: str
    """Where it is spoken."""
    id_header: bytes
    """The header of an answer that says its id."""
    relays: generation.Dialect
    """The dialect of backends whose streams go out as they are, if any."""

    def read(self, body: bytes) -> Question:
        """Read a request; raises BadParams, whose details say where, for what it does not know or cannot promise."""

    def asked(self, question: Question) -> generation.Request:
        """The question in no dialect."""

    def whole(self, question: Question, made: Generated, about: About) -> dict[str, Any]:
        """The answer's document."""

    def writer(self, question: Question, about: About) -> Writer:
        """The events of a stream."""

    def failure(self, error: errors.SyscallError, audit_id: str) -> Said:
        """The error's document."""


class Generating(Generic[Question]):
    """The face of a dialect."""

    def __init__(self, router: Router, dialect: Dialect[Question], *, clock: Callable[[], float] = time.time) -> None:
        self._router = router
        self._dialect = dialect
        self._clock = clock
        self.paths = frozenset({dialect.path})

    def refuse(self, caller: Caller, error: errors.SyscallError) -> Answer:
        """Answer what could not be read, and leave a record of it."""
        return self._failed(self._router.refuse(generation.SYSCALL, caller, error))

    async def answer(self, request: Request) -> Answer | Streamed:
        """Answer a question."""
        if request.method != "POST":
            wrong = errors.BadRequest(f"got {request.method} {request.path}, expected POST")
            return Answer(405, (JSON, (b"allow", b"POST")), _encode(self._dialect.failure(wrong, "").document))
        try:
            question = self._dialect.read(request.body)
            asked = self._dialect.asked(question)
        except errors.SyscallError as unread:
            return self.refuse(request.caller, unread)
        context = syscall.Context(traceparent=request.headers.get("traceparent", ""))
        body = syscall.Request(syscall=generation.SYSCALL, context=context, params=msgspec.Raw(_encode(asked)))
        reply = await self._router.serve(
            generation.SYSCALL, _encode(body), request.caller, dialect=self._dialect.relays
        )
        if not isinstance(reply, Reply):
            about = self._about(reply.audit_id, reply.model or asked.model)
            return Streamed(reply, self._dialect.writer(question, about), self._told(reply.audit_id))
        done = syscall.read_answer(reply.body)
        if isinstance(done, syscall.Failed):
            return self._failed(reply)
        made = _generated.decode(done.result)
        document = self._dialect.whole(question, made, self._about(done.audit_id, made.model or asked.model))
        return Answer(200, (JSON, *self._told(done.audit_id)), _encode(document))

    def _about(self, audit_id: str, model: str) -> About:
        return About(audit_id, int(self._clock()), model)

    def _told(self, audit_id: str) -> Headers:
        return ((self._dialect.id_header, audit_id.encode()),)

    def _failed(self, reply: Reply) -> Answer:
        """The router's refusal in the dialect's words. Clients that retry by status are told whether that would help."""
        failed = syscall.read_answer(reply.body)
        if not isinstance(failed, syscall.Failed):
            raise TypeError(f"expected a refusal, got {type(failed).__name__}")
        error = error_of(failed)
        said = self._dialect.failure(error, failed.audit_id)
        again = (b"x-should-retry", b"true" if error.retryable else b"false")
        others = (header for header in reply.headers if header != JSON)
        return Answer(said.status, (JSON, *others, again, *self._told(failed.audit_id)), _encode(said.document))


def error_of(failed: syscall.Failed) -> errors.SyscallError:
    """The error that an answer was made from."""
    said = failed.error
    return errors.of(said.code)(said.message, rule=said.rule, retry_after_ms=said.retry_after_ms, details=said.details)


T = TypeVar("T")


def read(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Read a document by a dialect's structs; raises BadParams, whose details say where."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        what, _, at = str(error).partition(" - at `$")
        raise wrong(at.rstrip("`").removeprefix("."), what) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise errors.BadRequest(f"the body is not JSON: {error}") from None


def wrong(path: str, what: str) -> errors.BadParams:
    """What stands at `path` (such as `messages[0].content`) cannot be taken."""
    said = f"{path}: {what}" if path else what
    return errors.BadParams(said, details={"errors": [{"path": path, "message": what}]})


def cannot(document: Mapping[str, object], *, because: str) -> None:
    """Refuse fields that were given and cannot be honoured; raises BadParams for the first that holds anything."""
    for name, given in document.items():
        if given:
            raise wrong(name, f"cannot be given here: {because}")


def place(error: errors.SyscallError) -> str | None:
    """Where in the request an error is, if it says so."""
    found = (error.details or {}).get("errors")
    return str(found[0].get("path")) if found and found[0].get("path") else None


def sentence(error: errors.SyscallError) -> str:
    """What happened, by which rule, for a person."""
    return f"{error.message} (rule: {error.rule})" if error.rule else error.message
