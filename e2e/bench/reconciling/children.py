"""An Agent of the benchmark, and the children that our renderer makes of it, as a template for the peers. Pure.

Apart so that every contender makes the same objects, to the byte but for their names. It must never simplify a child: a
Pod of 5 KB costs the API server what a Pod of 5 KB costs.
"""

import json
from typing import Any

from aion.api import ids
from aion.controller import accept, render_agent, views
from aion.controller.__main__ import installed
from aion.controller.accept import Refusal
from aion.controller.settings import Settings
from clusters.failure import Failed

Document = dict[str, Any]
AGENT, TENANT, UID, HASH = "xagentx", "xtenantx", "xuidx", "xhashx"


def agent(name: str, namespace: str) -> Document:
    """One Agent, as small as people write them."""
    spec = {"version": "1.0.0", "entry": "python -m worker", "resources": {"cpu": "100m", "mem": "64Mi"}}
    return {
        "apiVersion": "aion.os/v1",
        "kind": "Agent",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def template() -> Document:
    """`account` and `pod`, with the placeholders above in the place of names."""
    document = agent(AGENT, TENANT)
    document["metadata"] |= {"uid": UID, "generation": 1}
    settings = Settings(release_namespace="aion-system")
    accepted = accept.agent(views.root(document), settings=settings, profiles=installed())
    if isinstance(accepted, Refusal):
        raise Failed(f"the benchmark's own Agent is refused: {accepted.message}")
    _, recipe = accepted
    pod = render_agent.pod(recipe, settings=settings)
    digest = pod["metadata"]["name"].removeprefix(f"{AGENT}-")
    filled: Document = json.loads(json.dumps(pod).replace(digest, HASH))
    assert ids.agent_id(TENANT, AGENT) in json.dumps(filled)
    return {"account": render_agent.service_account(recipe), "pod": filled}


def sandbox(name: str, namespace: str, *, pod: Document) -> Document:
    """agent-sandbox's own kind around the same Pod."""
    spec = json.loads(json.dumps(pod["spec"]).replace(AGENT, name).replace(TENANT, namespace))
    meta = {"name": name, "namespace": namespace}
    return {
        "apiVersion": "agents.x-k8s.io/v1beta1",
        "kind": "Sandbox",
        "metadata": meta,
        "spec": {"podTemplate": {"spec": spec}},
    }
