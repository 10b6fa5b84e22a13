"""The syscall envelope `aion.syscall.v1`: one request, one answer, as they stand on the wire.

Apart because four writers (gateway, kernel, two SDKs) share it, and because it is the hot path: msgspec structs, the
params kept as raw bytes until the handler's own schema reads them. It must never do I/O, and never import pydantic.
"""

from typing import Any

import msgspec

from aion.api import errors, ids, strictjson

SCHEMA = "aion.syscall.v1"

# Every syscall of the contract. A grant holds names from this tuple only; patterns such as `memory.*` are expanded once.
NAMES: tuple[str, ...] = (
    "agent.checkpoint",
    "agent.yield",
    "event.emit",
    "fs.list",
    "fs.read",
    "fs.rollback",
    "fs.stat",
    "fs.write",
    "memory.delete",
    "memory.get",
    "memory.history",
    "memory.pin",
    "memory.put",
    "memory.query",
    "model.generate",
    "net.fetch",
    "schedule.cancel",
    "schedule.status",
    "schedule.submit",
    "tool.invoke",
)


class Context(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a call stands: its task, its trace, its number within the task. A newer SDK may say more."""

    task_id: str = ""
    trace_id: str = ""
    traceparent: str = ""
    seq: int | None = None


class Budget(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the caller will pay at most: dollars (a number or a decimal string) and milliseconds."""

    usd_max: int | float | str | None = None
    latency_ms: int | None = None

    @property
    def micro_usd(self) -> ids.MicroUSD | None:
        """The dollars in micro-USD; None where the caller set no limit. `decode` has checked that it parses."""
        return None if self.usd_max is None else ids.micro_usd(self.usd_max)


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One syscall as asked. `caps_required` is what the caller believes it needs; it grants nothing."""

    schema: str = SCHEMA
    syscall: str = ""
    agent_id: str = ""
    context: Context = Context()
    caps_required: tuple[str, ...] = ()
    params: msgspec.Raw = msgspec.Raw(b"{}")
    budget: Budget = Budget()


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a call took. On the wire `cost_usd` is a number of dollars; here it is micro-USD."""

    latency_ms: float = 0.0
    micro_usd: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


class Engine(msgspec.Struct, frozen=True):
    """Who did the work, e.g. `module` and `tooling/web_search@1.2.0`."""

    kind: str
    name: str


class WireUsage(msgspec.Struct, frozen=True):
    """`usage` of an answer, as it stands on the wire."""

    latency_ms: float
    cost_usd: float
    tokens_in: int
    tokens_out: int


class WireError(msgspec.Struct, frozen=True, omit_defaults=True):
    """`error` of an answer, as it stands on the wire."""

    code: str
    message: str
    rule: str | None = None
    retry_after_ms: int | None = None
    details: dict[str, Any] | None = None


class Ok(msgspec.Struct, frozen=True, tag_field="status", tag="ok"):
    """The answer of a syscall that was done."""

    result: msgspec.Raw
    usage: WireUsage
    engine: Engine
    audit_id: str


class Failed(msgspec.Struct, frozen=True, tag_field="status", tag="error"):
    """The answer of a syscall that was refused or failed."""

    error: WireError
    usage: WireUsage
    audit_id: str


_request = msgspec.json.Decoder(Request)
_answer: msgspec.json.Decoder[Ok | Failed] = msgspec.json.Decoder(Ok | Failed)
_encoder = msgspec.json.Encoder()


def decode(body: bytes, *, name: str) -> Request:
    """Read the body of `POST /v1/syscall/{name}`; raises BadRequest.

    A name that stands twice in one object, of the envelope or within the params, is refused. Nothing but `params` is needed, and not even that where the syscall takes none. The answer's `syscall` is always
    `name`.
    """
    try:
        request = _request.decode(body)
    except msgspec.DecodeError as error:  # ValidationError is one of these
        raise errors.BadRequest(f"the body is not an {SCHEMA} request: {error}") from None
    except (RecursionError, UnicodeDecodeError):
        raise errors.BadRequest(f"the body is not an {SCHEMA} request: nested too deep, or not UTF-8") from None
    strictjson.verify(body)
    if request.schema != SCHEMA:
        raise errors.BadRequest(f"got schema {request.schema[:80]!r}, expected {SCHEMA}")
    if bytes(request.params)[:1] != b"{":
        raise errors.BadRequest("params must be a JSON object")
    if request.budget != _UNLIMITED:
        _check(request.budget)
    if request.syscall != name:
        if request.syscall:
            raise errors.BadRequest(f"the path says {name!r} and the body says {request.syscall[:80]!r}")
        request = msgspec.structs.replace(request, syscall=name)
    return request


_UNLIMITED = Budget()
_MAX_LATENCY_MS = 2**53 - 1  # exact in every JSON reader


def _check(budget: Budget) -> None:
    try:
        _ = budget.micro_usd
    except ValueError as error:
        raise errors.BadRequest(f"budget.usd_max: {error}") from None
    if budget.latency_ms is not None and not 1 <= budget.latency_ms <= _MAX_LATENCY_MS:
        raise errors.BadRequest(f"budget.latency_ms: expected 1 to {_MAX_LATENCY_MS}")


def ok(result: object, usage: Usage, engine: Engine, audit_id: str) -> bytes:
    """The answer's body. A result of type bytes is JSON already and goes out as it is."""
    raw = msgspec.Raw(result if isinstance(result, bytes) else _encoder.encode(result))
    return _encoder.encode(Ok(raw, wire_usage(usage), engine, audit_id))


def failure(error: errors.SyscallError, usage: Usage, audit_id: str) -> bytes:
    """The body of an answer that is an error; its HTTP status is `error.http_status`."""
    said = WireError(error.code, error.message, error.rule, error.retry_after_ms, error.details)
    return _encoder.encode(Failed(said, wire_usage(usage), audit_id))


def read_answer(body: bytes) -> Ok | Failed:
    """Read an answer, as a client does; raises msgspec.DecodeError."""
    return _answer.decode(body)


def wire_usage(usage: Usage) -> WireUsage:
    """Usage as the wire has it: latency in thousandths of a millisecond, money in dollars."""
    return WireUsage(round(usage.latency_ms, 3), usage.micro_usd / ids.MICRO_PER_USD, usage.tokens_in, usage.tokens_out)
