"""What a syscall gave: the result itself, and beside it what it took, who did it, and where it is recorded.

Apart because it is what authors hold in their hands: it is a plain dict that prints as JSON. It must never change the
result, and never make a number of dollars out of nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from aion_sdk import errors


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
        return json.dumps(self, ensure_ascii=False, indent=2)


def read(status: int, headers: Mapping[str, str], body: bytes) -> Result:
    """A Result from an HTTP answer; raises the SyscallError it holds."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or answer.get("status") not in {"ok", "error"}:
        text = body[:120].decode(errors="replace")
        raise errors.UpstreamFailed(
            f"HTTP {status} without an answer of the contract (aion.syscall.v1): {text!r}; is kernel_url right?"
        )
    if answer["status"] == "ok" and status == 200:
        return Result(
            answer.get("result"),
            usage=Usage(**_known(answer.get("usage"), Usage._fields)),
            engine=Engine(**_known(answer.get("engine"), Engine._fields)),
            audit_id=str(answer.get("audit_id", "")),
        )
    raw = answer.get("error")
    said = raw if isinstance(raw, dict) else {}
    details = said.get("details")
    raise errors.of(str(said.get("code", "")))(
        str(said.get("message") or f"HTTP {status}"),
        rule=said.get("rule"),
        retry_after=_wait(said.get("retry_after_ms"), headers.get("retry-after")),
        details=details if isinstance(details, dict) else None,
        audit_id=answer.get("audit_id"),
    )


def _known(raw: object, fields: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key in fields} if isinstance(raw, dict) else {}


def _wait(milliseconds: object, header: str | None) -> float | None:
    if isinstance(milliseconds, (int, float)):
        return max(0.0, milliseconds / 1000)
    if header and header.isascii() and header.isdigit():
        return float(header)
    return None
