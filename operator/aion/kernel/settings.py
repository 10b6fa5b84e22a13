"""What an operator may set, read once from environment variables that begin with AION_.

It stands apart so that the chart and this file can be compared line by line. The Redis URL may hold a password, so it is
never shown; tenants' keys and policy are read from the cluster.
"""

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from aion.api.tenant import Allowed
from aion.kernel.rates import Rates

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Settings(BaseSettings):
    """Settings of the kernel's process; each field is the variable AION_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix="AION_", frozen=True)

    host: str = ""
    """Empty: every address of the Pod, IPv4 and IPv6."""
    port: int = 8010
    redis_url: SecretStr = SecretStr("redis://aion-redis:6379/0")
    release_namespace: str = "aion-system"
    """Where the Policy `aion` and its bundles are."""
    namespaces: tuple[str, ...] = ()
    """Those that this installation is bound to, as a JSON list; empty: the whole cluster."""
    pod_name: str = ""
    """Names this replica in traces and in the numbering of its own audit records."""
    log_level: str = "info"
    otlp_endpoint: str = ""

    kube_url: str = "https://kubernetes.default.svc"
    kube_token_file: Path = SERVICE_ACCOUNT / "token"
    kube_ca_file: Path | None = SERVICE_ACCOUNT / "ca.crt"

    default_capabilities: tuple[Allowed, ...] | None = None
    """A JSON list: the ceiling of Agents in namespaces without a Tenant, as a Tenant's spec.capabilities. Unset: none."""
    models: str = ""
    """The backends of model.generate, as JSON of the chart's `models.backends`; nothing secret."""

    oidc: str = ""
    """Whose tokens people bring and what their groups may do, as JSON of the chart's `kernel.oidc`; empty: nobody's."""
    rates: Rates = Rates()
    """How often a tenant, a caller and a stranger may ask this replica, as JSON of the chart's `kernel.rates`."""
    connections: int = 8192
    """At once, channels of gateways among them; fewer where the process may not open as many files."""

    channel_audience: str = "aion-kernel"
    events_kept: int = 50_000
    audit_kept: int = 200_000
    silent_after_s: int = 90
    """Three heartbeats of 30 s: after this an agent's sighting is forgotten."""
    linger_s: float = 3.0
    """After SIGTERM: no longer ready, but serving, until the cluster sends callers elsewhere; gateways go meanwhile."""
    grace_s: int = 20
    """How long after that requests may end; with 3 s before and 5 s for the stores below the Pod's 30 s."""
