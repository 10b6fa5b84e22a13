"""What the node process is told by its environment, all of it; nothing else in the package reads it but `profiles`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class NodeSettings(BaseSettings):
    """Environment variables AION_NODE_NAME, AION_KUBELET_ROOT, …; the API server's address is Kubernetes' own."""

    model_config = SettingsConfigDict(env_prefix="AION_", frozen=True)

    node_name: str = Field(min_length=1)
    kubelet_root: Path = Path("/host")  # the profiles go to <kubelet_root>/seccomp/aion
    port: int = Field(default=8030, ge=0, le=65535)
    period_s: float = Field(default=5.0, gt=0, le=60)
    api_server: str = ""  # scheme://host:port; empty: KUBERNETES_SERVICE_HOST and _PORT over TLS
    service_account: Path = SERVICE_ACCOUNT
