"""The purses of this replica: what tenants' quotas have lent it for their agents outside the cluster, by tenant.

Apart from `lending`, which answers for gateways too, because this end is the one that asks: it runs beside the calls,
renews what is held and gives back what lies idle. It must never spend without having been lent.
"""

import asyncio
import contextlib

from aion.api import channel, errors
from aion.api.grant import Grant
from aion.kernel import lending
from aion.kernel.grants import Grants
from aion.kernel.recorder import Recorder
from aion.kernel.store import Store
from aion.syscalls.purse import Purse

RENEW_S = 30.0


class Purses:
    """Makes purses, and keeps them filled."""

    def __init__(self, store: Store, grants: Grants, recorder: Recorder, *, holder: str) -> None:
        self._store = store
        self._grants = grants
        self._recorder = recorder
        self._holder = holder
        self._purses: dict[str, Purse] = {}
        self._wanted = asyncio.Event()

    def of(self, granted: Grant) -> Purse:
        """The purse of a tenant, bounded as its newest grant says."""
        purse = self._purses.get(granted.tenant)
        if purse is None:
            purse = self._purses[granted.tenant] = Purse(asyncio.get_running_loop().time)
            purse.on_wanted(self._wanted.set)
        purse.limit(usd=granted.tenant_micro_usd is not None, tokens=granted.tenant_tokens is not None)
        return purse

    async def run(self) -> None:
        """Ask for what is wanted, and renew what is held, until cancelled."""
        while True:
            renew = False
            try:
                async with asyncio.timeout(RENEW_S):
                    await self._wanted.wait()
            except TimeoutError:
                renew = True
            self._wanted.clear()
            with contextlib.suppress(errors.Unavailable):
                await self._recorder.kept()  # what was spent is charged before what is held is told
            for tenant, purse in list(self._purses.items()):
                await self._ask(tenant, purse, renew=renew)

    async def close(self) -> None:
        """Give back what is at hand; where the store is away, it is free when the lease ends."""
        for tenant, purse in self._purses.items():
            purse.give_back()
            await self._ask(tenant, purse, renew=False)

    async def _ask(self, tenant: str, purse: Purse, *, renew: bool) -> None:
        lease = purse.lease(renew=renew)
        if lease is None:
            return
        try:
            policy = self._grants.in_force()
            answer = await lending.lend(self._store, policy, tenant=tenant, holder=self._holder, lease=lease)
        except errors.Unavailable as away:
            answer = channel.Leased(refused=away.message, retry_after_ms=away.retry_after_ms or 1000)
        purse.answer(answer)
