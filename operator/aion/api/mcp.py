"""The revisions of the Model Context Protocol that are spoken here, and the words of its envelope.

Apart because one side serves agents (`aion.dialects`) and the other calls servers (`aion.toolrunner`), and both must mean
the same. It must never hold more than names: what they mean is decided where they are read.
"""

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2025-06-18")
"""Newest first. The older one differs from it by nothing that tools need."""

VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
CLIENT_INFO = "io.modelcontextprotocol/clientInfo"
SERVER_INFO = "io.modelcontextprotocol/serverInfo"
"""Keys of `_meta`: by the newer revision every request and every result says of itself what a handshake said before."""

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603
HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION = -32020, -32021, -32022
"""Codes of errors. The second line is of the newer revision alone: who answers one of them speaks it."""
