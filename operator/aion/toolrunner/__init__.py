"""The process in a Tool's Pod: runs one tool's code, a call at a time and confined.

Files, in the order a call meets them: `app` (signed upgrade, health) -> `calls` (frames of one connection) -> an `engine`:
`wasm` (a fresh instance a call), `native` (a process a call, by the tool's own container or by `local`; `pytool` is what it
starts for Python), `mcp_stdio` (an MCP server kept running, each of its lives an `mcp_session`), `mcp_remote` (one that
is elsewhere); `mcp_content` is how both read a server's answers. `errors`, `settings` and `__main__` assemble.

Never reaches the network itself: a tool's wishes go back to its caller as nested syscalls.
"""
