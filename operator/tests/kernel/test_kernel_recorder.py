"""The kernel's own audit: in the store before the answer, or not begun."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from aion.api import channel, errors
from aion.kernel.metrics import KernelMetrics
from aion.kernel.recorder import Recorder
from aion.kernel.testing import FailingStore


def made():
    registry, store = CollectorRegistry(), FailingStore()
    return store, Recorder(store, chain="kernel/1@5", metrics=KernelMetrics(registry)), registry


def take(recorder, count=1):
    for _ in range(count):
        n, prev = recorder.place()
        recorder.append(
            channel.AuditRecord(
                n=n,
                prev=prev,
                ts_ms=1,
                audit_id=f"sc-{n}",
                tenant="team",
                agent="a",
                syscall="tool.invoke",
                decision="allow",
            ),
            urgent=False,
            done=True,
        )


async def test_what_was_taken_is_in_the_store_when_kept_returns():
    store, recorder, registry = made()
    take(recorder, 3)
    await recorder.kept()
    assert (await store.find_audit("sc-3")) is not None
    assert registry.get_sample_value("aion_kernel_audit_records_total") == 3


async def test_calls_that_end_during_a_write_share_the_next_one():
    store, recorder, _ = made()
    batches = []
    write = store.record

    async def slowly(source, drafts, *, broken):
        batches.append(len(drafts))
        await asyncio.sleep(0.01)
        kept = await write(source, drafts, broken=broken)
        assert kept.breaks == ()
        return kept

    store.record = slowly

    async def call():
        take(recorder)
        await recorder.kept()

    await asyncio.gather(*(call() for _ in range(50)))
    assert sum(batches) == 50
    assert len(batches) <= 3


async def test_an_outage_refuses_further_calls_and_loses_no_record():
    store, recorder, _ = made()
    recorder.check()
    store.down = True
    take(recorder)
    with pytest.raises(errors.Unavailable):
        await recorder.kept()
    with pytest.raises(errors.Unavailable, match="the audit cannot be written"):
        recorder.check()
    store.down = False
    take(recorder)
    await recorder.kept()
    recorder.check()
    assert [(await store.find_audit(f"sc-{n}")).seq for n in (1, 2)] == [1, 2]


async def test_what_could_not_be_written_is_written_without_a_caller(monkeypatch):
    monkeypatch.setattr("aion.kernel.recorder.RETRY_S", 0.01)
    store, recorder, _ = made()
    store.down = True
    take(recorder)
    with pytest.raises(errors.Unavailable):
        await recorder.kept()
    running = asyncio.create_task(recorder.run())
    await asyncio.sleep(0.03)
    store.down = False
    await asyncio.sleep(0.05)
    running.cancel()
    assert await store.find_audit("sc-1") is not None
    recorder.check()


async def test_the_end_of_the_process_writes_what_still_waits():
    store, recorder, _ = made()
    take(recorder)
    await recorder.close()
    assert await store.find_audit("sc-1") is not None
    store.down = True
    take(recorder)
    await recorder.close()  # says so in the log, and does not hold the process
