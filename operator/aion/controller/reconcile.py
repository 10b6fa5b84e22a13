"""One pass over one root object: observe, plan, apply, say. Level-triggered: what happened does not matter, only what is.

It stands apart from the workers so that a test drives it by hand, and from the plans because it is not pure. A refusal by the API server ends as a
condition for a person; what may go better next time is raised, and the worker's to retry. It must never wait for anything but its own writes.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from aion.controller import (
    errors,
    events,
    outcome,
    plan_agent,
    plan_tenant,
    plan_tool,
    policy_pointer,
    refusals,
    sources,
    status,
)
from aion.controller.apply import Applier
from aion.controller.binding import Held
from aion.controller.draft import Drafts
from aion.controller.outcome import Outcome
from aion.controller.plan import Plan
from aion.controller.policy_pointer import Source
from aion.controller.settings import Settings
from aion.controller.sources import Sources
from aion.controller.store import Observed, Store
from aion.controller.views import Key

REFUSED_AGAIN_S = 60.0
"""Quotas are raised and admission rules mended by others, without an event for us."""

Clock = Callable[[], datetime]


def utcnow() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


class Reconciler:
    """Reconciles Agents, Tools, Tenants and Policies; `profiles` maps names of seccomp profiles to their sha256."""

    def __init__(
        self,
        store: Store,
        applier: Applier,
        *,
        files: Sources,
        settings: Settings,
        profiles: Mapping[str, str],
        source: Source,
        clock: Clock = utcnow,
    ) -> None:
        self._store = store
        self._applier = applier
        self._files = files
        self._settings = settings
        self._profiles = profiles
        self._drafts = Drafts(settings=settings, profiles=profiles)
        self._source = source
        self._clock = clock
        self._bundle = source()
        self._failures: dict[Key, int] = {}

    async def __call__(self, key: Key) -> Outcome:
        """One pass; raises Conflict, Unreachable and whatever else is worth another attempt."""
        files = await self._files.of(self._store.root(key))
        seen, now = replace(self._store.observe(key), source=files), self._clock()
        plan = self._plan(key, seen, now=now)
        if seen.root is None:
            self._gone(key)
            return plan.outcome
        try:
            await self._applier.children(plan)
        except errors.NotFound as error:
            return outcome.Transient(
                error.message
            )  # the namespace is going; so is the object, and its event will say so
        except errors.Refused as error:
            told = refusals.told(plan.conditions, error.message)
            facts = plan.facts if plan.rekey is None else status.facts(seen.root)
            plan = Plan(conditions=told, facts=facts, outcome=outcome.Waiting(REFUSED_AGAIN_S))
        self._count_failures(key, plan)
        document = status.document(seen.root, plan, now=now)
        if document is not None:
            if key.kind == "Policy":  # a lost update would lower a revision: compare and swap
                document["metadata"]["resourceVersion"] = str(seen.version)
            await self._applier.status(document)
            if happened := events.of(seen.root, document, now=now):
                await self._applier.event(happened)
        if files is not None and isinstance(plan.outcome, outcome.Done | outcome.Stalled):
            return outcome.After(sources.POLL_S)  # other files may also be what mends a crash
        return plan.outcome

    def _plan(self, key: Key, seen: Observed, *, now: datetime) -> Plan:
        if key.kind == "Policy":
            self._bundle = self._source()
            return policy_pointer.plan(seen, source=self._bundle, pointer=self._settings.pointer, now=now)
        if key.kind == "Tenant":
            return plan_tenant.plan(seen, settings=self._settings, now=now)
        if key.kind == "Tool":
            return plan_tool.plan(seen, settings=self._settings, profiles=self._profiles, now=now)
        return plan_agent.plan(
            seen,
            drafts=self._drafts,
            held=self._bundle if isinstance(self._bundle, Held) else None,
            now=now,
            failures=self._failures.get(key, 0),
        )

    def _count_failures(self, key: Key, plan: Plan) -> None:
        """Of the Pods that failed as a whole, since one was last ready: what the pause before the next grows by."""
        if any(pod.phase == "Failed" for pod in plan.delete):
            self._failures[key] = self._failures.get(key, 0) + 1
        elif isinstance(plan.outcome, outcome.Done):
            self._failures.pop(key, None)

    def _gone(self, key: Key) -> None:
        self._failures.pop(key, None)
        self._drafts.forget(key)
        if not self._store.inhabited(key.namespace):
            self._applier.forget(key.namespace)
