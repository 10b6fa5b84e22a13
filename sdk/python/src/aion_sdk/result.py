"""What a syscall gave: the result itself, and beside it what it took, who did it, and where it is recorded.

Apart because it is what authors hold in their hands: it is a plain dict that prints as JSON. It must never change the
result, never make a number of dollars out of nothing, and never let an answer that makes no sense raise anything but a
SyscallError.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from aion_sdk import errors

MAX_WAIT_S = 1e9  # more is "never" to every caller, and would not fit into a float's arithmetic

# What a proxy between here and the kernel means, whose answers are not the contract's.
_BY_STATUS: Mapping[int, type[errors.SyscallError]] = {
    429: errors.Busy,
    503: errors.Unavailable,
    504: errors.TimedOut,
}


class Usage(NamedTuple):
    """What a call took: milliseconds, dollars, tokens."""

    latency_ms: float = 0.0
    cost_usd: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0


class Engine(NamedTuple):
    """Who did the work, e.g. kind `module`, name `tooling/web_search@1.2.0`."""

    kind: str = ""
    name: str = ""


class Result(dict[str, Any]):
    """The answer's `result` as a dict; one that is not an object stands under the key `value`."""

    def __init__(self, result: object, *, usage: Usage, engine: Engine, audit_id: str) -> None:
        super().__init__(result if isinstance(result, dict) else {"value": result})
        self.usage = usage
        self.engine = engine
        self.audit_id = audit_id

    def __str__(self) -> str:
        return json.dumps(self, ensure_ascii=False, indent=2, default=str)


def read(status: int, headers: Mapping[str, str], body: bytes) -> Result:
    """A Result from an HTTP answer; raises the SyscallError it holds."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or answer.get("status") not in ("ok", "error"):
        text = body[:120].decode(errors="replace")
        raise _BY_STATUS.get(status, errors.UpstreamFailed)(
            f"HTTP {status} without an answer of the contract (aion.syscall.v1): {text!r}; is kernel_url right?",
            retry_after=_wait(None, headers.get("retry-after")),
        )
    if answer["status"] == "ok" and status == 200:
        return Result(
            answer.get("result"),
            usage=Usage(**_known(answer.get("usage"), Usage._fields)),
            engine=Engine(**_known(answer.get("engine"), Engine._fields)),
            audit_id=_text(answer.get("audit_id")) or "",
        )
    raw = answer.get("error")
    said = raw if isinstance(raw, dict) else {}
    details = said.get("details")
    raise errors.of(_text(said.get("code")) or "")(
        _text(said.get("message")) or f"HTTP {status}",
        rule=_text(said.get("rule")),
        retry_after=_wait(said.get("retry_after_ms"), headers.get("retry-after")),
        details=details if isinstance(details, dict) else None,
        audit_id=_text(answer.get("audit_id")),
    )


def _known(raw: object, fields: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key in fields} if isinstance(raw, dict) else {}


def _text(raw: object) -> str | None:
    return raw if isinstance(raw, str) and raw else None


def _wait(milliseconds: object, header: str | None) -> float | None:
    """Seconds to wait: the answer's own word, else Retry-After in seconds or as a date."""
    if isinstance(milliseconds, (int, float)) and milliseconds == milliseconds:  # noqa: PLR0124  (not a NaN)
        return max(0.0, min(milliseconds, MAX_WAIT_S * 1000) / 1000)
    if not header or not header.isascii():
        return None
    if header.isdigit():
        return min(float(header), MAX_WAIT_S)
    from email.utils import parsedate_to_datetime  # a gateway says seconds; a proxy may say a date

    try:
        then = parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError):
        return None
    import time

    return max(0.0, then - time.time())
