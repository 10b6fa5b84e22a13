"""What the Pod tells the gateway, by environment variables of the prefix AION_.

By msgspec and not pydantic-settings as elsewhere, because this process starts in the path of every agent's start, and the
import alone would cost it a tenth of a second of a core. It must never hold a secret: token and keys are files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from aion.api import ids

PREFIX = "AION_"


class BadSettings(ValueError):  # noqa: N818 - what they are
    """The environment is not what this process needs. The message names the variable."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Each field is the variable AION_<FIELD>; what has no default must be there."""

    agent_id: str
    kernel_url: str
    pod_name: str
    pod_uid: str
    agent_uid: int = 10001
    token_file: str = "/var/run/aion/token/token"  # noqa: S105 - a path
    keys_dir: str = "/var/run/aion/keys"
    model_keys_dir: str = "/var/run/aion/model-keys"
    journal: str = "/var/lib/aion/audit.journal"
    otlp_endpoint: str = ""
    log_level: str = "info"
    park_s: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    """How long the agent's preStop waits for calls under way; the agent hears SIGTERM after it."""
    grace_s: Annotated[float, Meta(ge=1, le=3600)] = 25.0
    """How long SIGTERM waits for the agent, parking included: the Pod's grace, less 5 s to send what is left of the audit."""

    @property
    def tenant(self) -> ids.Tenant:
        """The agent's tenant."""
        return ids.parse_agent_id(self.agent_id)[0]

    @property
    def agent(self) -> str:
        """The agent's name."""
        return ids.parse_agent_id(self.agent_id)[1]

    @property
    def token_path(self) -> Path:
        """The projected token, which the kubelet renews."""
        return Path(self.token_file)


def read(environ: Mapping[str, str]) -> Settings:
    """Read and check the environment; raises BadSettings."""
    given = {name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX)}
    known = {field: given[field] for field in Settings.__struct_fields__ if field in given}
    try:
        made = msgspec.convert(known, Settings, strict=False)
        ids.parse_agent_id(made.agent_id)
    except (msgspec.ValidationError, ValueError) as wrong:
        raise BadSettings(f"the environment of the gateway ({PREFIX}<FIELD>): {wrong}") from None
    return made
