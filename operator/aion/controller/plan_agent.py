"""What should exist for one Agent, and what should not: its ServiceAccount and exactly one Pod. Pure.

The Pod's name is the hash of its template, so the rules are few. A Pod of another template, or of an earlier Agent of the same name, is told to
stop, and the right one is made when it has gone: one Agent never runs twice. A Pod that was deleted is simply missing, and is made. A Pod that
failed as a whole is deleted and made again, each time after a longer pause. Labels or an image that somebody changed in it are put right. A suspended Agent has none. What was deleted has nothing: its
children are collected by their owner references.

The files and an optional GPU are settled before the Pod is made, and stand in its template: other files mean another Pod, but files that
cannot be read any more, or a GPU node that came or went, never stop one that runs.

A spec that is refused makes no Pod; where one of an earlier, good spec runs, it runs on, as a Deployment's Pods do, until the spec is mended.
It must never delete a Pod because something could not be read.
"""

from datetime import datetime

from aion.api import conditions, granting
from aion.controller import conditions_agent, diagnosis, disruption, outcome
from aion.controller.accept import Refusal
from aion.controller.binding import Held
from aion.controller.conditions_agent import Standing
from aion.controller.diagnosis import Finding
from aion.controller.draft import Draft, Drafts, Variant
from aion.controller.outcome import Outcome
from aion.controller.plan import Plan, bears, present
from aion.controller.sealed import Document
from aion.controller.store import Observed
from aion.controller.views import PodView, RootView

FIRST_PAUSE_S = 10.0
LAST_PAUSE_S = 300.0
SOURCE_SOON_S = 1.0
NET_S = 60.0  # what others do wakes us by an event; this is the net below


def plan(seen: Observed, *, drafts: Drafts, held: Held | None, now: datetime, failures: int = 0) -> Plan:
    """Decide for one Agent. `held` is the policy bundle; `failures` counts the Pods that failed since one was last ready."""
    root = seen.root
    if root is None or root.deleting:
        return Plan(outcome=outcome.Gone() if root is None else outcome.Done())
    draft = drafts.of(root)
    if isinstance(draft, Refusal):
        return _refused(draft, seen)
    return _accepted(draft, root, seen, held=held, now=now, failures=failures)


def _refused(refusal: Refusal, seen: Observed) -> Plan:
    running = next((pod for pod in seen.pods if not pod.deleting), None)
    return Plan(
        conditions=conditions_agent.refused(refusal, running=running),
        facts=_whereabouts(running),
        outcome=outcome.Stalled(refusal.message),
    )


def _accepted(draft: Draft, root: RootView, seen: Observed, *, held: Held | None, now: datetime, failures: int) -> Plan:
    model, recipe = draft.model, draft.recipe
    variant = _variant(draft, seen)
    look = draft.look(variant)
    name, needs = look.mark.name, look.needs
    suspended = model.spec.operating_mode == "Suspended"
    # The Agent's uid is in the hash too: a Pod of an earlier Agent of this name has another name.
    current = None if suspended else next((pod for pod in seen.pods if pod.name == name), None)
    others = tuple(pod for pod in seen.pods if pod is not current)

    delete = tuple(pod for pod in others if not pod.deleting)
    apply: list[Document] = [] if present(draft.account_mark, seen.children) else [draft.account]
    if current is not None and not current.deleting and not bears(look.mark, current):
        apply.append(draft.pod(variant))
    again: float | None = None
    finding: Finding | None
    if suspended:
        finding = _stopping(others)
    elif others:
        finding = _replacing(others, name)
    elif current is None and seen.source is not None and seen.source.missing:
        finding = diagnosis.no_source(root.key.namespace, recipe.config_map)
        again = _look_again(root, now=now)
    elif current is None:
        apply.append(draft.pod(variant))
        finding = Finding(conditions.CREATING, f"Pod {name} is being created.")
    elif current.deleting:
        finding = disruption.ending(current, nodes=seen.nodes)
    elif current.phase in ("Failed", "Succeeded"):
        finding, again = disruption.failed(current), _pause(current, failures, now=now)
        delete = () if again else (current,)
    elif current.ready:
        finding = None
    else:
        finding = disruption.lost(current, nodes=seen.nodes) or diagnosis.blocking(current, names=("gateway", "agent"))
        finding = finding or diagnosis.placement(current, needs=needs, nodes=seen.nodes)
        if finding is None:
            finding, again = diagnosis.starting(current, config_map=recipe.config_map, now=now)

    most, whose = (
        (seen.ceiling, granting.TENANTS) if seen.tenanted else (draft.settings.default_capabilities, granting.CHARTS)
    )
    bound = draft.bound(holder=seen.policy, held=held, ceiling=most, ceiling_of=whose)
    standing = Standing(
        pod=current,
        finding=finding,
        needs=needs,
        nodes=seen.nodes,
        suspended=suspended,
        bound=bound.condition,
        tools_found=conditions_agent.tools(
            model.spec.tools, {tool.key.name for tool in seen.tools if not tool.deleting}
        ),
    )
    shown = {"podName": name, **_whereabouts(current)} if not suspended else {}
    return Plan(
        delete=delete,
        apply=tuple(apply),
        keys_in=root.key.namespace if finding is not None and not suspended else "",
        conditions=conditions_agent.of(standing),
        facts={"priority": model.spec.priority, "queue": recipe.queue, **bound.facts, **shown},
        outcome=_outcome(finding, again),
    )


def _variant(draft: Draft, seen: Observed) -> Variant:
    """The one Pod that there should be, of the few that this spec allows: one that is there already comes first."""
    recipe, digest = draft.recipe, ""
    if recipe.config_map and seen.source is not None:
        alive = (pod for pod in seen.pods if not pod.deleting)
        digest = seen.source.digest or next((pod.source for pod in alive if pod.source), "")
    if not recipe.gpu_optional:
        return Variant(digest, recipe.gpus)
    without, with_one = Variant(digest, 0), Variant(digest, 1)
    names = {pod.name for pod in seen.pods}
    for each in (without, with_one):
        if draft.look(each).mark.name in names:
            return each
    return with_one if any(node.gpus for node in seen.nodes) else without


def _look_again(root: RootView, *, now: datetime) -> float:
    """Nobody tells us of a ConfigMap that is made: soon at first, and ever less often while it stays away."""
    told = conditions.find(conditions.read(root.status.get("conditions")), conditions.STALLED)
    since = told.last_transition_time if told and told.reason == conditions.SOURCE_NOT_FOUND else ""
    waited = (now - diagnosis.when(since)).total_seconds() if since else 0.0
    return min(max(waited / 4, SOURCE_SOON_S), NET_S)


def _stopping(pods: tuple[PodView, ...]) -> Finding:
    if pods:
        return Finding(conditions.TERMINATING, f"The Agent is being suspended: Pod {pods[0].name} stops.")
    return Finding(conditions.BY_REQUEST, "The Agent is suspended; set spec.operatingMode to Running to resume.")


def _replacing(others: tuple[PodView, ...], name: str) -> Finding:
    stopping = ", ".join(pod.name for pod in others)
    return Finding(conditions.REPLACING, f"Pod {name} follows when {stopping}, of an earlier spec, has stopped.")


def _pause(pod: PodView, failures: int, *, now: datetime) -> float | None:
    """How long the failed Pod still stays: counted from its creation, so that one that had lived long goes at once."""
    if not pod.created:
        return None
    pause = min(FIRST_PAUSE_S * 2.0 ** min(failures, 16), LAST_PAUSE_S)
    left = pause - (now - diagnosis.when(pod.created)).total_seconds()
    # A clock that runs behind the server's puts the next look off no longer than that.
    return min(left, pause) if left > 0 else None


def _whereabouts(pod: PodView | None) -> dict[str, str]:
    if pod is None:
        return {}
    return {"podName": pod.name, "nodeName": pod.node} if pod.node else {"podName": pod.name}


def _outcome(finding: Finding | None, again: float | None) -> Outcome:
    if finding is None or finding.reason == conditions.BY_REQUEST:
        return outcome.Done()
    if again is not None:
        return outcome.After(again)
    return outcome.Stalled(finding.message) if finding.stuck else outcome.Waiting(NET_S)
