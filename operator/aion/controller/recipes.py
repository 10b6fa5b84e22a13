"""What the specs say about Pods, parsed and accepted: the hand-over from `accept` to rendering.

Apart from both, so that a renderer can be tested with nothing but values, and cannot reach back into a spec. Frozen; holds no secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aion.api.entry import ToolEntry
from aion.controller.views import Key

Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class AgentRecipe:
    """One Agent's Pod. `profile` is the sha256 of its seccomp profile; `queue` is high, normal or low.

    `gpu_optional`: one GPU where a node has any, decided before the Pod is made. `models`: it asks for model.generate. `source_digest` is of the files in `config_map`.
    """

    key: Key
    uid: str
    version: str
    argv: tuple[str, ...]
    queue: str
    cpu: str
    memory: str
    profile: str
    timeout_ms: int = 120_000
    gpus: int = 0
    gpu_optional: bool = False
    models: bool = False
    image: str = ""
    config_map: str = ""
    source_digest: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Document, ...] = ()
    affinity: Document | None = None
    pull_secrets: tuple[Document, ...] = ()
    env: tuple[Document, ...] = ()
    tunnel: bool = True


@dataclass(frozen=True)
class ToolRecipe:
    """One Tool's Deployment and Service. `runner` is the JSON of AION_TOOL."""

    key: Key
    uid: str
    version: str
    entry: ToolEntry
    runner: str
    replicas: int
    cpu: str
    memory: str
    profile: str
    image: str = ""
