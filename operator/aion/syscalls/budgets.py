"""Money of one agent in this process: reserved before the work, settled after it.

Apart because the check and the reservation must be one step: between them stands no await, or two calls at once would
both find the last cent. Pure. It must never hold money as a float.
"""

from dataclasses import dataclass

from aion.api import errors, ids


@dataclass(slots=True)
class Ledger:
    """What an agent has spent and what its calls under way may still spend, in micro-USD."""

    spent: int = 0
    reserved: int = 0

    def reserve(self, worst: int, *, agent_max: int | None, call_max: int | None) -> None:
        """Set aside what a call may cost at most; raises BudgetSpent. What costs nothing is never refused."""
        if not worst:
            return
        if call_max is not None and worst > call_max:
            raise errors.BudgetSpent(
                f"the call may cost {ids.usd(worst)} USD, its budget has {ids.usd(call_max)} left",
                details={"worst_usd": ids.usd(worst), "call_usd_max": ids.usd(call_max)},
            )
        if agent_max is not None and self.spent + self.reserved + worst > agent_max:
            left = max(0, agent_max - self.spent - self.reserved)
            raise errors.BudgetSpent(
                f"the call may cost {ids.usd(worst)} USD, the agent has {ids.usd(left)} left of {ids.usd(agent_max)}",
                details={"worst_usd": ids.usd(worst), "left_usd": ids.usd(left)},
            )
        self.reserved += worst

    def settle(self, worst: int, spent: int) -> None:
        """Give back what was reserved and charge what it really cost."""
        self.reserved -= worst
        self.spent += spent
