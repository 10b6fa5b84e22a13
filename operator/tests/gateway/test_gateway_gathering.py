"""How often the channel speaks: a frame for many records where there are many, and at once where somebody waits."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from aion.api import auditchain, channel
from aion.gateway.channel import GATHER_S, Channel
from aion.gateway.door import Door
from aion.gateway.testing import FakeKernel
from aion.syscalls.purse import Purse
from aion.telemetry.journal import Journal

AGENT = "agent://tenant-a/researcher"


class Talking(NamedTuple):
    """A channel that is connected, and both its ends."""

    kernel: FakeKernel
    journal: Journal
    purse: Purse
    channel: Channel

    def record(self) -> None:
        place = self.journal.place()
        made = channel.AuditRecord(
            n=place.n,
            prev=place.prev,
            ts_ms=0,
            audit_id=f"sc-{place.n}",
            tenant="tenant-a",
            agent=AGENT,
            syscall="tool.invoke",
            decision="allow",
        )
        self.journal.append(made, urgent=True, done=True)


@asynccontextmanager
async def talking(folder: Path) -> AsyncIterator[Talking]:
    loop = asyncio.get_running_loop()
    (folder / "token").write_text("a-token")
    journal = Journal(
        folder / "journal", later=loop.call_later, clock=loop.time, genesis=auditchain.genesis("uid-1", 1)
    )
    purse = Purse(loop.time)
    async with FakeKernel(None).serving() as kernel:
        said = Channel(
            kernel_url=kernel.url,
            token_file=folder / "token",
            hello=channel.Hello("pod-1", AGENT, "0", journal.chain),
            door=Door(AGENT, clock=loop.time, purse=purse),
            journal=journal,
            purse=purse,
            totals=channel.Totals,
            granted=lambda _frame: None,
        )
        running = asyncio.create_task(said.run())
        while not kernel.hellos:
            await asyncio.sleep(0.001)
        yield Talking(kernel, journal, purse, said)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        journal.close()


async def test_records_that_come_thick_and_fast_share_a_frame_and_none_is_missing(tmp_path: Path) -> None:
    async with talking(tmp_path) as here:
        began = time.monotonic()
        for _ in range(200):
            here.record()
            await asyncio.sleep(0.001)
        records = await here.kernel.until(200)
        most = (time.monotonic() - began) / GATHER_S + 2

        assert [record.n for record in records] == list(range(1, 201))
        assert here.kernel.batches <= most


async def test_who_waits_for_the_tenants_quota_does_not_wait_for_records_to_gather(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aion.gateway.channel.GATHER_S", 30.0)
    async with talking(tmp_path) as here:
        here.purse.limit(usd=True, tokens=False)
        here.record()
        await here.kernel.until(1)  # from now on the channel gathers

        async with asyncio.timeout(10):
            await here.purse.filled(100, 0, within_s=9)

        assert here.purse.usd.at_hand == 1000  # it lends ten times what is wanted


async def test_an_end_does_not_wait_for_records_to_gather(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aion.gateway.channel.GATHER_S", 30.0)
    async with talking(tmp_path) as here:
        here.record()
        await here.kernel.until(1)
        here.record()

        assert await here.channel.drain(within_s=10)
        assert [record.n for record in here.kernel.records] == [1, 2]
