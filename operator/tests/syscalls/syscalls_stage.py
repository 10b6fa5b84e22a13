"""The real router with its surroundings played, and what a caller sees of it."""

import json
from typing import Any, NamedTuple

from aion.api import grant, syscall
from aion.api.channel import AuditRecord
from aion.syscalls import testing
from aion.syscalls.call import Caller
from aion.syscalls.handler import Handler
from aion.syscalls.router import AuditSink, Clock, Reply, Router
from aion.telemetry import metrics

ME = Caller(testing.TENANT, testing.AGENT)


class Answer(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: dict[str, Any]

    @property
    def code(self) -> str:
        return self.body["error"]["code"] if self.status != 200 else ""

    @property
    def error(self) -> dict[str, Any]:
        return self.body["error"]


def read(reply: Reply) -> Answer:
    syscall.read_answer(reply.body)  # the wire's own types take it
    return Answer(reply.status, dict(reply.headers), json.loads(reply.body))


class Stage:
    def __init__(
        self,
        *handlers: Handler,
        grants: tuple[grant.Grant, ...] | None = None,
        clock: Clock | None = None,
        audit: AuditSink | None = None,
    ) -> None:
        self.door = testing.OpenDoor(*(grants if grants is not None else (testing.granted(),)))
        self.audit = testing.KeptAudit()
        self.spans = testing.KeptSpans()
        self.registry = metrics.registry()
        self.router = Router(
            door=self.door,
            handlers=handlers or (testing.Scripted("tool.invoke"),),
            audit=audit or self.audit,
            metrics=metrics.SyscallMetrics(self.registry, syscall.NAMES),
            tracer=self.spans,
            clock=clock,
        )

    async def call(self, name: str, params: Any = None, *, caller: Caller = ME, **fields: Any) -> Answer:
        return await self.send(name, testing.request(name, params, **fields), caller=caller)

    async def send(self, name: str, body: bytes, *, caller: Caller = ME) -> Answer:
        return read(await self.router.handle(name, body, caller))

    @property
    def record(self) -> AuditRecord:
        """The one record there is."""
        (record,) = self.audit.records
        return record

    def counted(self, name: str, decision: str) -> float | None:
        labels = {"syscall": name, "decision": decision}
        return self.registry.get_sample_value("aion_kernel_syscalls_total", labels)
