"""What should exist for one Tool: its Service, its Deployment, which keeps the Pods, and what guards them. Pure.

Apart from the Agent's plan because here the Pods are the Deployment controller's business: a Tool's Pods are alike and may overlap, so that a
changed Tool goes on serving while it is replaced. What we do is keep the objects as they should be, and read the Pods to say why they
are not ready. A spec that is refused changes nothing: what served before serves on. Of two Tools by one name the elder serves. It must never delete
anything but a disruption budget, which one Pod alone would be locked by.
"""

from collections.abc import Mapping
from datetime import datetime

from aion.api import conditions, labels
from aion.api.shape import InvalidManifest
from aion.api.tool import Tool
from aion.controller import accept, conditions_tool, diagnosis, disruption, outcome, refusals, render_tool
from aion.controller.accept import Refusal
from aion.controller.conditions_tool import Standing
from aion.controller.diagnosis import Finding, Needs
from aion.controller.outcome import Outcome
from aion.controller.plan import Plan, bears, mark, present
from aion.controller.sealed import Document
from aion.controller.settings import Settings
from aion.controller.store import Observed
from aion.controller.views import PodView, RootView

NET_S = 60.0


def plan(seen: Observed, *, settings: Settings, profiles: Mapping[str, str], now: datetime) -> Plan:
    """Decide for one Tool."""
    root = seen.root
    if root is None or root.deleting:
        return Plan(outcome=outcome.Gone() if root is None else outcome.Done())
    accepted = accept.tool(root, settings=settings, profiles=profiles)
    if isinstance(accepted, Refusal):
        return _refused(accepted, seen)
    model, recipe = accepted
    if elder := _elder(model, seen.tools):
        refusal = Refusal(
            conditions.NAME_CONFLICT,
            f"Agents call Tool {elder} by the name {model.tool_name} already. Give this one another spec.toolName, or delete the other.",
        )
        return _refused(refusal, seen)
    service, deployment = render_tool.children(recipe, settings=settings)
    template = deployment["spec"]["template"]
    pod_hash = template["metadata"]["labels"][labels.TEMPLATE_HASH]
    needs = diagnosis.needs(template["spec"], profile=recipe.profile)
    ours = tuple(pod for pod in seen.pods if pod.template_hash == pod_hash and not pod.deleting)
    # One that failed stays until it is collected; another was made for it.
    pods = tuple(pod for pod in ours if pod.phase != "Failed")

    apply: list[Document] = [] if present(mark(service), seen.children) else [service]
    if seen.deployment is None or not bears(mark(deployment), seen.deployment):
        apply.append(deployment)
    guards = render_tool.guards(recipe, settings=settings)
    apply = [*(guard for guard in guards if not present(mark(guard), seen.children)), *apply]
    kinds = {guard["kind"] for guard in guards}
    finding, again = _finding(seen, pods, wanted=recipe.replicas, needs=needs, now=now)
    if finding is not None and finding.reason == conditions.CREATING and (ended := [p for p in ours if p not in pods]):
        finding = disruption.failed(ended[-1])
    standing = Standing(
        pods=pods, wanted=recipe.replicas, finding=finding, needs=needs, nodes=seen.nodes, users=seen.users
    )
    return Plan(
        prune=tuple(c for c in seen.children if c.kind == "PodDisruptionBudget" and c.kind not in kinds),
        over=tuple(each for each in apply if each is service and any(c.kind == "Service" for c in seen.children)),
        apply=tuple(apply),
        keys_in=root.key.namespace if apply or finding is not None else "",
        conditions=conditions_tool.of(standing),
        facts={"endpoint": model.endpoint, **_facts(seen)},
        outcome=_outcome(finding, again),
    )


def _refused(refusal: Refusal, seen: Observed) -> Plan:
    serving = sum(pod.ready for pod in seen.pods)
    told = conditions_tool.refused(refusal, serving=serving, users=seen.users)
    return Plan(conditions=told, facts=_facts(seen), outcome=outcome.Stalled(refusal.message))


def _elder(tool: Tool, others: tuple[RootView, ...]) -> str | None:
    """The Tool that agents reach by this one's name, by the rule of the grants: the one that was there first."""
    for other in others:
        try:
            model = Tool.from_cluster(other.document)
        except InvalidManifest:
            continue
        if not other.deleting and model.tool_name == tool.tool_name and model.seniority < tool.seniority:
            return model.name
    return None


def _finding(
    seen: Observed, pods: tuple[PodView, ...], *, wanted: int, needs: Needs, now: datetime
) -> tuple[Finding | None, float | None]:
    """Why fewer Pods of this spec are ready than are wanted: the worst of what the Pods say, else the Deployment."""
    unready = [pod for pod in pods if not pod.ready]
    if wanted == 0 or (len(pods) - len(unready) >= wanted and not unready):
        return None, None
    blocked = [
        found
        for pod in unready
        if (
            found := disruption.lost(pod, nodes=seen.nodes)
            or diagnosis.blocking(pod, names=("runner", "tool"))
            or diagnosis.placement(pod, needs=needs, nodes=seen.nodes)
        )
    ]
    if blocked:
        return next((found for found in blocked if found.stuck), blocked[0]), None
    failure = seen.deployment.condition("ReplicaFailure") if seen.deployment else None
    if failure is not None and failure.status == "True":
        return refusals.finding(failure.message), None
    if unready:
        return diagnosis.starting(unready[0], config_map="", now=now)
    return Finding(conditions.CREATING, "The Tool's Pods are being created."), None


def _facts(seen: Observed) -> dict[str, int]:
    held = seen.deployment
    return {"replicas": held.replicas if held else 0, "readyReplicas": sum(pod.ready for pod in seen.pods)}


def _outcome(finding: Finding | None, again: float | None) -> Outcome:
    if finding is None:
        return outcome.Done()
    if again is not None:
        return outcome.After(again)
    return outcome.Stalled(finding.message) if finding.stuck else outcome.Waiting(NET_S)
