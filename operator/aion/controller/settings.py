"""What the chart tells the controller, by environment variables of the prefix AION_.

It must never be read by a plan directly: plans get the frozen object, so that a test can give another.
"""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from aion.api.tenant import Allowed
from aion.controller.views import Key

POLICY = "aion"  # the name of the one Policy that counts


class Settings(BaseSettings):
    """One field a variable; the defaults suit a developer's cluster with locally built images."""

    model_config = SettingsConfigDict(env_prefix="AION_", frozen=True)

    release_namespace: str = "aion-system"
    # Those that this controller is bound to; none: the whole cluster. A JSON list in the environment.
    namespaces: tuple[str, ...] = ()
    image_gateway: str = "localhost/aion-os/gateway:dev"
    image_toolrunner: str = "localhost/aion-os/toolrunner:dev"
    image_agent: str = "localhost/aion-os/agent-python:dev"
    image_tools: str = "localhost/aion-os/tools:dev"
    image_pull_policy: str = "IfNotPresent"
    kernel_url: str = ""
    otlp_endpoint: str = ""
    policy_file: str = ""
    # The chart's `tools.config`: {tool name: {key: value}}, merged under each Tool's own `spec.config`.
    tool_config: dict[str, dict[str, str]] = Field(default_factory=dict)
    # The ceiling of Agents in namespaces without a Tenant, as a Tenant's spec.capabilities; None: no ceiling.
    default_capabilities: tuple[Allowed, ...] | None = None
    sandbox_profile: str = "sealed"
    workers: int = Field(default=8, ge=1, le=64)
    # To the API server: 50 new Agents a second x 3 writes, and a third to spare. Twice as many at once.
    writes_per_s: float = Field(default=200.0, gt=0)
    # Only the holder of the Lease works. A developer's single process beside no other may do without.
    leader_election: bool = True
    port: int = Field(default=8080, ge=0, le=65535)
    log_level: str = "info"
    # LIST everything and compare it with what the watches told: the net under a deletion that a watch lost.
    sweep_s: float = Field(default=600.0, gt=0)
    # Plan each object again, +-20 %: the net under everything else.
    resync_s: float = Field(default=600.0, gt=0)

    @property
    def pointer(self) -> Key:
        """The Policy whose status points at the bundle in force."""
        return Key("Policy", self.release_namespace, POLICY)

    @property
    def kernel(self) -> str:
        """Where gateways find the kernel."""
        return self.kernel_url or f"http://aion-kernel.{self.release_namespace}.svc:8010"
