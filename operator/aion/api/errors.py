"""The one error tree of the syscall contract: what a caller sees when a syscall is refused or fails.

Apart because the gateway, the kernel, the tool runner and both SDKs must agree on code, HTTP status and retry. An error
is raised where it is found and turned into an answer once, at the rim. It must never carry a secret or a foreign
stack trace: everything in it is sent to the agent.

    SyscallError
    ├── BadRequest            400 E_BAD_REQUEST      not JSON, too large to read, name and body disagree
    ├── Unauthenticated       401
    │   ├── BadSignature          E_SIGNATURE        missing or wrong MAC
    │   ├── Replay                E_REPLAY           the nonce was used
    │   └── ClockSkew             E_CLOCK            outside the 30 s window
    ├── Forbidden             403
    │   ├── CapabilityDenied      E_CAPABILITY       agent or tool lacks the capability; `rule` says where
    │   ├── PolicyDenied          E_POLICY           a rule of the policy bundle says no
    │   └── TenantMismatch        E_TENANT           somebody else's tenant
    ├── NotFound              404
    │   ├── NoSuchSyscall         E_NO_SYSCALL
    │   └── NoSuchTool            E_NO_TOOL
    ├── BudgetSpent           402 E_BUDGET           the call's, the task's or the agent's budget is spent
    ├── Conflict              409
    │   ├── Preempted             E_PREEMPT          yield now
    │   ├── Fenced                E_FENCED           an old attempt
    │   ├── VersionConflict       E_VERSION          a lost update
    │   └── UnknownOutcome        E_UNKNOWN_OUTCOME  a non-idempotent effect whose answer was lost
    ├── TooLarge              413 E_TOO_LARGE
    ├── BadParams             422 E_PARAMS           the schema refuses the params; `details` says where
    ├── Throttled             429                    always with retry_after_ms
    │   ├── QuotaExceeded         E_QUOTA
    │   └── Busy                  E_BUSY             a queue is full
    ├── UpstreamFailed        502 E_UPSTREAM         the tool, model or store failed
    ├── TimedOut              504 E_TIMEOUT          … or was too slow
    └── Unavailable           503 E_UNAVAILABLE      fail closed: no valid policy, audit cannot be written
"""

# ruff: noqa: D101, N818 - the tree above documents each; the names are the contract's, which has no Error suffix

from typing import Any, ClassVar

DEFAULT_RETRY_MS = 1000


class SyscallError(Exception):
    """A syscall that was refused or failed. `message` is for a person: what happened and what to do."""

    code: ClassVar[str] = ""
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    """May the same request be sent again, by a caller that knows nothing of its effect?"""

    def __init__(
        self,
        message: str,
        *,
        rule: str | None = None,
        retry_after_ms: int | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.rule = rule
        self.retry_after_ms = retry_after_ms
        self.details = details

    def __str__(self) -> str:
        said = f"{self.code}: {self.message}"
        return f"{said} (rule: {self.rule})" if self.rule else said


class BadRequest(SyscallError):
    code, http_status = "E_BAD_REQUEST", 400


class Unauthenticated(SyscallError):
    http_status = 401


class BadSignature(Unauthenticated):
    code = "E_SIGNATURE"


class Replay(Unauthenticated):
    code = "E_REPLAY"


class ClockSkew(Unauthenticated):
    code = "E_CLOCK"


class Forbidden(SyscallError):
    http_status = 403


class CapabilityDenied(Forbidden):
    code = "E_CAPABILITY"


class PolicyDenied(Forbidden):
    code = "E_POLICY"


class TenantMismatch(Forbidden):
    code = "E_TENANT"


class NotFound(SyscallError):
    http_status = 404


class NoSuchSyscall(NotFound):
    code = "E_NO_SYSCALL"


class NoSuchTool(NotFound):
    code = "E_NO_TOOL"


class BudgetSpent(SyscallError):
    code, http_status = "E_BUDGET", 402


class Conflict(SyscallError):
    http_status = 409


class Preempted(Conflict):
    code = "E_PREEMPT"


class Fenced(Conflict):
    code = "E_FENCED"


class VersionConflict(Conflict):
    code = "E_VERSION"


class UnknownOutcome(Conflict):
    code = "E_UNKNOWN_OUTCOME"


class TooLarge(SyscallError):
    code, http_status = "E_TOO_LARGE", 413


class BadParams(SyscallError):
    code, http_status = "E_PARAMS", 422


class Throttled(SyscallError):
    http_status, retryable = 429, True

    def __init__(
        self,
        message: str,
        *,
        rule: str | None = None,
        retry_after_ms: int | None = DEFAULT_RETRY_MS,
        details: dict[str, Any] | None = None,
    ) -> None:
        wait = DEFAULT_RETRY_MS if retry_after_ms is None else retry_after_ms
        super().__init__(message, rule=rule, retry_after_ms=wait, details=details)


class QuotaExceeded(Throttled):
    code = "E_QUOTA"


class Busy(Throttled):
    code = "E_BUSY"


class UpstreamFailed(SyscallError):
    code, http_status = "E_UPSTREAM", 502


class TimedOut(SyscallError):
    code, http_status = "E_TIMEOUT", 504


class Unavailable(SyscallError):
    code, http_status, retryable = "E_UNAVAILABLE", 503, True


def _leaves(of: type[SyscallError]) -> list[type[SyscallError]]:
    under = of.__subclasses__()
    return [leaf for child in under for leaf in _leaves(child)] if under else [of]


BY_CODE: dict[str, type[SyscallError]] = {leaf.code: leaf for leaf in _leaves(SyscallError)}


def of(code: str) -> type[SyscallError]:
    """The class of a code. A code nobody here knows (a newer peer, a tool that makes its own) is an UpstreamFailed."""
    return BY_CODE.get(code, UpstreamFailed)
