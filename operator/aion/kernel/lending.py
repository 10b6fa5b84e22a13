"""How a tenant's quota is lent to whoever spends of it: gateways over their channel, and this process for agents outside.

Apart because both ask by the same question and get the same answer, by the policy in force now and not by the one that
they were granted by. It must never lend where the store does not answer.
"""

from aion.api import channel, ids
from aion.kernel.grants import Policy
from aion.kernel.quotas import Amounts, Limits, Loan
from aion.kernel.store import Store

GRACE_S = 30.0
"""A holder stops spending by its own clock, which began when the answer reached it: we wait so much longer."""

SHORTEST_S = 60.0
"""A lease runs as long as a gateway may go on without the kernel, and this long at least."""


def limits(policy: Policy) -> Limits:
    """What a tenant may use by a policy."""
    budgets = policy.bundle.budgets
    usd = budgets.usd_per_hour
    return Limits(None if usd is None else ids.micro_usd(usd), budgets.tokens_per_minute)


async def lend(store: Store, policy: Policy, *, tenant: str, holder: str, lease: channel.Lease) -> channel.Leased:
    """Answer one question; raises Unavailable."""
    ttl_s = max(SHORTEST_S, float(policy.bundle.limits.offline_s))
    bounds, want = limits(policy), Amounts(lease.want_micro_usd, lease.want_tokens)
    loan = await store.lend(
        tenant,
        holder,
        held=Amounts(lease.held_micro_usd, lease.held_tokens),
        want=want,
        limits=bounds,
        ttl_s=ttl_s + GRACE_S,
    )
    return channel.Leased(
        micro_usd=loan.lent.micro_usd,
        tokens=loan.lent.tokens,
        ttl_s=ttl_s,
        refused=_refusal(tenant, loan, want, bounds),
        retry_after_ms=loan.retry_after_ms,
    )


def _refusal(tenant: str, loan: Loan, want: Amounts, bounds: Limits) -> str:
    said = []
    if loan.lent.micro_usd < want.micro_usd and bounds.micro_usd is not None:
        used, most = ids.usd(loan.used.micro_usd), ids.usd(bounds.micro_usd)
        said.append(f"{used} of {most} USD an hour are spent or lent (policy budgets.usd_per_hour)")
    if loan.lent.tokens < want.tokens and bounds.tokens is not None:
        said.append(
            f"{loan.used.tokens} of {bounds.tokens} tokens a minute are used or lent (policy budgets.tokens_per_minute)"
        )
    return f"tenant {tenant}: {', and '.join(said)}" if said else ""
