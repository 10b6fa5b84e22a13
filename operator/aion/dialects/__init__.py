"""The protocols that agents speak already, each a thin translation onto the router.

Files, in the order a request meets them: `rim` (raw ASGI: who may knock, the body, the caller that leaves) -> a face, which
is `mcp` so far. A face reads its dialect, makes a syscall of it, gives that to the router and writes the answer in the
dialect's own form. `wire` holds what rim and faces hand each other. MCP: `jsonrpc` (messages), `mcp_eras` (which revision
a request speaks, and whether its headers lie), `mcp_tools` (which tools an agent sees, and which syscall each one is).
`streaming` writes a router's stream as server-sent events, in the words of whichever dialect, ours included.

Gateway and kernel serve them both. Never decides what an agent may do: capability, policy, budget and audit are the
router's, so that a dialect is a way to say something and never a way around.
"""
