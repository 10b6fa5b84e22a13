"""From a document to a recipe, or to a refusal that a person understands. Pure.

Apart from rendering, so that what is rendered was accepted whole: a plan never meets half a spec. The API server has refused most of this
already; what is left is what its schema cannot say, and objects that were stored before the schema could.
It must never repair a spec in silence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from aion.api import conditions, patterns
from aion.api.agent import Agent
from aion.api.shape import InvalidManifest, Shape
from aion.api.tool import Tool
from aion.controller.recipes import AgentRecipe, ToolRecipe
from aion.controller.settings import Settings
from aion.controller.views import RootView


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there will be no Pod until the spec changes."""

    reason: str
    message: str


def agent(root: RootView, *, settings: Settings, profiles: Mapping[str, str]) -> tuple[Agent, AgentRecipe] | Refusal:
    """Accept an Agent; `profiles` maps the names of the installed seccomp profiles to their sha256."""
    try:
        model = Agent.from_cluster(root.document)
        argv = model.spec.argv
    except InvalidManifest as error:
        return _invalid(error)
    except ValueError as error:
        return Refusal(conditions.INVALID_SPEC, f"spec.entry: {error}. Change it and apply the Agent again.")
    spec = model.spec
    profile = spec.sandbox_profile or settings.sandbox_profile
    if profile not in profiles:
        return _no_profile("spec.sandboxProfile", profile, profiles)
    gpu = spec.resources.gpu
    template = spec.pod_template
    recipe = AgentRecipe(
        key=root.key,
        uid=root.uid,
        version=spec.version,
        argv=argv,
        queue=spec.priority_class,
        cpu=str(spec.resources.cpu),
        memory=str(spec.resources.mem),
        timeout_ms=spec.timeout_ms,
        gpus=gpu if isinstance(gpu, int) else int(gpu == "required"),
        gpu_optional=gpu == "optional" and spec.capabilities.gpu,
        models=patterns.first(spec.capabilities.syscalls, "model.generate") is not None,
        profile=profiles[profile],
        image=spec.image or "",
        config_map=spec.source.config_map if spec.source else "",
        labels=dict(template.labels),
        annotations=dict(template.annotations),
        node_selector=dict(template.node_selector),
        tolerations=_documents(template.tolerations),
        affinity=dict(template.affinity) or None,
        pull_secrets=_documents(template.image_pull_secrets),
        env=_documents(template.env),
        tunnel=template.tunnel,
    )
    return model, recipe


def tool(root: RootView, *, settings: Settings, profiles: Mapping[str, str]) -> tuple[Tool, ToolRecipe] | Refusal:
    """Accept a Tool."""
    try:
        model = Tool.from_cluster(root.document)
        entry = model.spec.parsed_entry
    except InvalidManifest as error:
        return _invalid(error)
    except ValueError as error:
        return Refusal(conditions.INVALID_SPEC, f"spec.entry: {error}. Change it and apply the Tool again.")
    # `default-restrictive` is the name that classic tool files carry for what is the default here.
    profile = model.spec.security.seccomp_profile
    profile = settings.sandbox_profile if profile in ("", "default-restrictive") else profile
    if profile not in profiles:
        return _no_profile("spec.security.seccompProfile", profile, profiles)
    runner = model.runner_tool()
    # The chart's configuration is the ground; what the Tool itself says stands above it.
    ground = settings.tool_config.get(model.tool_name, settings.tool_config.get(model.name, {}))
    runner = msgspec.structs.replace(runner, config={**ground, **runner.config})
    recipe = ToolRecipe(
        key=root.key,
        uid=root.uid,
        version=model.spec.version,
        entry=entry,
        runner=msgspec.json.encode(runner, order="sorted").decode(),
        replicas=model.spec.replicas,
        cpu=str(model.spec.resources.cpu),
        memory=str(model.spec.resources.mem),
        profile=profiles[profile],
        image=model.spec.image or "",
    )
    return model, recipe


def _documents(items: tuple[Shape, ...]) -> tuple[dict[str, Any], ...]:
    return tuple(item.document() for item in items)


def _invalid(error: InvalidManifest) -> Refusal:
    said = "; ".join(f"{path}: {what}" if path else what for path, what in error.problems)
    return Refusal(conditions.INVALID_SPEC, f"{said}. Change the {error.what} and apply it again.")


def _no_profile(field: str, wanted: str, profiles: Mapping[str, str]) -> Refusal:
    known = ", ".join(sorted(profiles))
    return Refusal(
        conditions.PROFILE_NOT_FOUND, f"{field}: got {wanted!r}, expected one of {known}, or nothing for the default."
    )
