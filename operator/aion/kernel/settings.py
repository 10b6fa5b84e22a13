"""What an operator may set, read once from environment variables that begin with AION_.

It stands apart so that the chart and this file can be compared line by line. Nothing secret is here: the Redis URL may
hold a password and is never logged; tenants' keys are read from the cluster.
"""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Settings(BaseSettings):
    """Settings of the kernel's process; each field is the variable AION_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix="AION_", frozen=True)

    host: str = "0.0.0.0"  # noqa: S104 - it serves the Pod's address, whichever that is
    port: int = 8010
    redis_url: str = "redis://aion-redis:6379/0"
    policy_file: Path = Path("/etc/aion/policy.yaml")
    otlp_endpoint: str | None = None

    kube_url: str = "https://kubernetes.default.svc"
    kube_token_file: Path = SERVICE_ACCOUNT / "token"
    kube_ca_file: Path = SERVICE_ACCOUNT / "ca.crt"

    channel_audience: str = "aion-kernel"
    events_kept: int = 50_000
    audit_kept: int = 200_000
    silent_after_s: int = 90
    """Three heartbeats of 30 s: after this an agent's sighting is forgotten."""
    grace_s: int = 20
    """How long SIGTERM lets requests and channels end."""
