"""Why a syscall was not done: one class for each code of the contract, whether the gateway said it or the way there.

Apart so that an author can `from aion_sdk.errors import PolicyDenied` and nothing else. It must never hide the audit id,
and never say "done" or "not done" where that is unknown.

    SyscallError
    ├── BadRequest            E_BAD_REQUEST      the request was not understood
    ├── Unauthenticated
    │   ├── BadSignature      E_SIGNATURE        wrong or missing secret
    │   ├── Replay            E_REPLAY           the nonce was used
    │   └── ClockSkew         E_CLOCK            this clock and the kernel's differ by more than 30 s
    ├── Forbidden
    │   ├── CapabilityDenied  E_CAPABILITY       the agent lacks a capability
    │   ├── PolicyDenied      E_POLICY           a rule says no
    │   └── TenantMismatch    E_TENANT           somebody else's tenant
    ├── NotFound
    │   ├── NoSuchSyscall     E_NO_SYSCALL
    │   └── NoSuchTool        E_NO_TOOL
    ├── BudgetSpent           E_BUDGET
    ├── Conflict
    │   ├── Preempted         E_PREEMPT          yield now
    │   ├── Fenced            E_FENCED           this attempt is an old one
    │   ├── VersionConflict   E_VERSION          somebody else wrote first
    │   └── UnknownOutcome    E_UNKNOWN_OUTCOME  it may or may not have been done (also: the answer was lost on the way)
    ├── TooLarge              E_TOO_LARGE
    ├── BadParams             E_PARAMS           `details` says where
    ├── Throttled
    │   ├── QuotaExceeded     E_QUOTA
    │   └── Busy              E_BUSY
    ├── UpstreamFailed        E_UPSTREAM         the tool, model or store failed (also: the answer made no sense)
    ├── TimedOut              E_TIMEOUT          too slow (also: no answer within `timeout`)
    └── Unavailable           E_UNAVAILABLE      fail closed (also: nobody listens at the kernel's address)
"""

# ruff: noqa: D101, N818 - the tree above documents each; the names are the contract's

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class SyscallError(Exception):
    """A syscall that was refused or failed.

    `code` is the contract's; `rule` the rule and policy revision that denied; `retry_after` seconds to wait, or None;
    `details` what else there is to know; `audit_id` the id of the audit record, or None where the gateway was not reached.
    """

    code: ClassVar[str] = "E_UPSTREAM"
    hint: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        rule: str | None = None,
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
        audit_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.rule = rule
        self.retry_after = retry_after
        self.details = details
        self.audit_id = audit_id

    def __str__(self) -> str:
        parts = [f"{self.code}: {self.message}"]
        if self.rule:
            parts.append(f"rule: {self.rule}")
        if self.details:
            parts.append(f"details: {dict(self.details)}")
        if self.hint:
            parts.append(self.hint)
        if self.retry_after is not None:
            parts.append(f"try again in {self.retry_after:g} s")
        if self.audit_id:
            parts.append(f"audit: {self.audit_id}")
        return "; ".join(parts)


class BadRequest(SyscallError):
    code = "E_BAD_REQUEST"


class Unauthenticated(SyscallError):
    pass


class BadSignature(Unauthenticated):
    code, hint = "E_SIGNATURE", "check secret, key_id and tenant against the Secret aion-tenant-keys"


class Replay(Unauthenticated):
    code = "E_REPLAY"


class ClockSkew(Unauthenticated):
    code, hint = "E_CLOCK", "synchronise this machine's clock"


class Forbidden(SyscallError):
    pass


class CapabilityDenied(Forbidden):
    code, hint = "E_CAPABILITY", "ask for the capability in the Agent's spec.capabilities"


class PolicyDenied(Forbidden):
    code, hint = "E_POLICY", "the policy of this tenant must allow it first"


class TenantMismatch(Forbidden):
    code = "E_TENANT"


class NotFound(SyscallError):
    pass


class NoSuchSyscall(NotFound):
    code = "E_NO_SYSCALL"


class NoSuchTool(NotFound):
    code, hint = "E_NO_TOOL", "kubectl get tools -n <tenant> lists what is there"


class BudgetSpent(SyscallError):
    code = "E_BUDGET"


class Conflict(SyscallError):
    pass


class Preempted(Conflict):
    code, hint = "E_PREEMPT", "save a checkpoint and yield"


class Fenced(Conflict):
    code, hint = "E_FENCED", "stop: another attempt of this task is the valid one"


class VersionConflict(Conflict):
    code, hint = "E_VERSION", "read again, then write"


class UnknownOutcome(Conflict):
    code, hint = "E_UNKNOWN_OUTCOME", "look whether it was done before asking again"


class TooLarge(SyscallError):
    code = "E_TOO_LARGE"


class BadParams(SyscallError):
    code = "E_PARAMS"


class Throttled(SyscallError):
    pass


class QuotaExceeded(Throttled):
    code = "E_QUOTA"


class Busy(Throttled):
    code = "E_BUSY"


class UpstreamFailed(SyscallError):
    code = "E_UPSTREAM"


class TimedOut(SyscallError):
    code = "E_TIMEOUT"


class Unavailable(SyscallError):
    code = "E_UNAVAILABLE"


_GROUPS = (SyscallError, Unauthenticated, Forbidden, NotFound, Conflict, Throttled)

BY_CODE: Mapping[str, type[SyscallError]] = {
    kind.code: kind for parent in _GROUPS for kind in parent.__subclasses__() if kind not in _GROUPS
}


def of(code: str) -> type[SyscallError]:
    """The class for a code; a code that a newer gateway invented is an UpstreamFailed."""
    return BY_CODE.get(code, UpstreamFailed)


__all__ = [
    "BadParams",
    "BadRequest",
    "BadSignature",
    "BudgetSpent",
    "Busy",
    "CapabilityDenied",
    "ClockSkew",
    "Conflict",
    "Fenced",
    "Forbidden",
    "NoSuchSyscall",
    "NoSuchTool",
    "NotFound",
    "PolicyDenied",
    "Preempted",
    "QuotaExceeded",
    "Replay",
    "SyscallError",
    "TenantMismatch",
    "Throttled",
    "TimedOut",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnknownOutcome",
    "UpstreamFailed",
    "VersionConflict",
]
