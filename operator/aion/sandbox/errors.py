"""What can be wrong with a sandbox profile, or with keeping it on a node.

SandboxError
├── ProfileMissing      no folder, or no file, where the profiles should be
├── ProfileTooWide      a profile allows what no agent may ever have; the message names the rule
└── ClusterUnreachable  the API server did not take the node's label
"""

# ruff: noqa: N818  (named for what is the matter, as in aion.api.errors)


class SandboxError(Exception):
    """Root of this package's errors."""


class ProfileMissing(SandboxError):
    """The folder of profiles is not there, or holds none."""


class ProfileTooWide(SandboxError):
    """A profile allows what is above the ceiling."""


class ClusterUnreachable(SandboxError):
    """The API server refused, or did not answer."""
