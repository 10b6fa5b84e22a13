"""The protocol between a caller (gateway or kernel) and a tool runner: JSON text frames on one WebSocket.

Apart because both ends compile against it and the runner carries no gateway. Calls are multiplexed by `id`; syscalls
that a tool makes in the middle of a call are numbered by `n` within it. It must never interpret params or results:
they stay raw bytes.

    caller -> runner   invoke, answer, cancel
    runner -> caller   syscall, result, error
"""

from typing import Any, Literal

import msgspec

PATH = "/v1/calls"
PORT = 8020
MAX_RESULT_BYTES = 1 << 20
MAX_PARAMS_BYTES = 256 << 10
LEAVING = "leaving"  # in the details of E_BUSY: this runner ends and has not begun the call, so ask on a new connection
MAX_IN_FLIGHT = 64  # calls per runner; one more is answered E_BUSY

_EMPTY = msgspec.Raw(b"{}")


class CallContext(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """On whose behalf a tool runs."""

    agent_id: str
    tenant: str
    task_id: str = ""
    traceparent: str = ""


class CallError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a nested syscall was refused: the code and message of `aion.api.errors`."""

    code: str
    message: str
    details: dict[str, Any] | None = None


class Invoke(msgspec.Struct, frozen=True, tag_field="t", tag="invoke"):
    """Run the tool once."""

    id: int
    context: CallContext
    timeout_ms: int
    params: msgspec.Raw = _EMPTY


class Answer(msgspec.Struct, frozen=True, tag_field="t", tag="answer", omit_defaults=True):
    """What became of nested syscall `n` of call `id`: `result` when ok, `error` when not."""

    id: int
    n: int
    status: Literal["ok", "error"]
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: CallError | None = None


class Cancel(msgspec.Struct, frozen=True, tag_field="t", tag="cancel"):
    """Nobody waits for call `id` any more. The runner stops it and sends nothing."""

    id: int


class Syscall(msgspec.Struct, frozen=True, tag_field="t", tag="syscall"):
    """The tool asks for a syscall of its own; it is admitted with the caller's rights and the Tool's, both."""

    id: int
    n: int
    syscall: str
    params: msgspec.Raw = _EMPTY


class Result(msgspec.Struct, frozen=True, tag_field="t", tag="result"):
    """Call `id` is done."""

    id: int
    result: msgspec.Raw = msgspec.Raw(b"null")


class Failure(msgspec.Struct, frozen=True, tag_field="t", tag="error", omit_defaults=True):
    """Call `id` failed: E_UPSTREAM, E_TIMEOUT, E_TOO_LARGE, E_PARAMS, E_BUSY or the code of a nested refusal."""

    id: int
    code: str
    message: str
    details: dict[str, Any] | None = None


ToRunner = Invoke | Answer | Cancel
FromRunner = Syscall | Result | Failure

_to_runner: msgspec.json.Decoder[ToRunner] = msgspec.json.Decoder(ToRunner)
_from_runner: msgspec.json.Decoder[FromRunner] = msgspec.json.Decoder(FromRunner)
_encoder = msgspec.json.Encoder()


def encode(frame: ToRunner | FromRunner) -> bytes:
    """One text frame, in UTF-8."""
    return _encoder.encode(frame)


def decode_to_runner(text: bytes | str) -> ToRunner:
    """Read a frame that a runner received; raises msgspec.DecodeError."""
    return _to_runner.decode(text)


def decode_from_runner(text: bytes | str) -> FromRunner:
    """Read a frame that a caller received; raises msgspec.DecodeError."""
    return _from_runner.decode(text)


class RunnerTool(msgspec.Struct, frozen=True, kw_only=True):
    """All that a runner knows of its Tool: the document in its environment variable AION_TOOL."""

    name: str
    version: str
    kind: Literal["wasm", "native", "python", "mcp-stdio", "mcp-remote"]
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None = None
    timeout_ms: int = 30_000
    memory_mb: int = 128
    capabilities: tuple[str, ...] = ()
    config: dict[str, str] = msgspec.field(default_factory=dict)
    url: str = ""  # of a remote MCP server


_runner_tool = msgspec.json.Decoder(RunnerTool)


def runner_tool(document: bytes | str) -> RunnerTool:
    """Read AION_TOOL; raises msgspec.DecodeError."""
    return _runner_tool.decode(document)
