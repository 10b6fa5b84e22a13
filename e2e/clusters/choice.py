"""Which provider: what the person said, else what already runs here, else what the machine can do."""

from clusters import run
from clusters.kind.provider import Kind
from clusters.native.provider import Native
from clusters.provider import Provider
from clusters.settings import Settings

ENGINES = ("docker", "podman")


def provider(settings: Settings) -> Provider:
    """Choose. A running native cluster stays the answer though an engine is installed beside it later."""
    if settings.provider == "native" or (settings.provider is None and Native.exists(settings)):
        return Native(settings)
    engine = answering_engine()
    if settings.provider == "kind" or engine:
        return Kind(settings, engine=engine)
    return Native(settings)


def answering_engine() -> str | None:
    """Name the container engine that answers; one that is only installed does not count."""
    return next((engine for engine in ENGINES if run.succeeds([engine, "info"])), None)
