"""What is left of a call that is over: its audit record and its span.

Apart because both are made from the same facts and neither decides anything. Pure. A record names what a call was about
(a tool, a host), and must never hold its params or its result.
"""

from aion.api import auditchain, channel, errors
from aion.syscalls.call import Call
from aion.telemetry import spans

_MAX_NAME = 64
_MAX_TEXT = 256


def decision(error: errors.SyscallError | None) -> channel.Decision:
    """`deny` is a rule's no; whatever else went wrong is an `error`."""
    if error is None:
        return "allow"
    refused = (errors.Unauthenticated, errors.Forbidden, errors.BudgetSpent, errors.Throttled)
    return "deny" if isinstance(error, refused) else "error"


def record(
    call: Call,
    error: errors.SyscallError | None,
    *,
    place: auditchain.Place,
    latency_ms: float,
    parent: spans.Parent | None,
    held_ms: float = 0.0,
) -> channel.AuditRecord:
    """The audit record of a call, for its place in the chain. What a stranger wrote (a name, a task id) is cut to a length."""
    grant, context = call.rights.grant, call.context
    return channel.AuditRecord(
        n=place.n,
        prev=place.prev,
        ts_ms=call.started_ns // 1_000_000,
        audit_id=call.audit_id,
        tenant=grant.tenant or call.caller.tenant,
        agent=grant.agent_id or call.caller.agent_id,
        syscall=call.name[:_MAX_NAME],
        decision=decision(error),
        code=error.code if error else "",
        rule=(error.rule or "")[:_MAX_TEXT] if error else "",
        latency_ms=auditchain.number(round(latency_ms, 3)),
        micro_usd=call.micro_usd,
        tokens_in=call.tokens_in,
        tokens_out=call.tokens_out,
        engine=call.engine.name,
        trace_id=parent.trace_id if parent else context.trace_id[:_MAX_NAME],
        task_id=context.task_id[:_MAX_TEXT],
        parent=call.within.audit_id if call.within else "",
        policy_revision=grant.policy_revision,
        subject=call.subject[:_MAX_TEXT],
        bytes_in=call.bytes_in,
        bytes_out=call.bytes_out,
        held_ms=round(held_ms, 3) if held_ms else 0.0,
    )


def span(
    made: channel.AuditRecord, started_ns: int, parent: spans.Parent | None, error: errors.SyscallError | None
) -> spans.Span:
    """The span of a call, by aion.* and the GenAI conventions' names for the execution of a tool."""
    about: dict[str, str | int | float] = {
        "aion.syscall": made.syscall,
        "aion.tenant": made.tenant,
        "aion.agent": made.agent,
        "aion.decision": made.decision,
        "aion.audit_id": made.audit_id,
        "aion.engine": made.engine,
        "aion.policy.revision": made.policy_revision,
    }
    if made.subject:
        about["aion.subject"] = made.subject
    if made.task_id:
        about["aion.task_id"] = made.task_id
    if made.syscall == "tool.invoke":
        about["gen_ai.operation.name"] = "execute_tool"
        about["gen_ai.tool.name"] = made.subject
    if made.syscall == "model.generate":
        about["gen_ai.operation.name"] = "chat"
        about["gen_ai.request.model"] = made.subject
        about["gen_ai.usage.input_tokens"] = made.tokens_in
        about["gen_ai.usage.output_tokens"] = made.tokens_out
    if error is not None:
        about["error.type"] = error.code
        if error.rule:
            about["aion.rule"] = error.rule
    return spans.Span(
        name=spans.SYSCALL,
        started_ns=started_ns,
        ended_ns=started_ns + int((made.latency_ms + made.held_ms) * 1_000_000),
        attributes=about,
        parent=parent,
        failure=str(error) if error else "",
    )
