"""The protocols that agents speak already, each a thin translation onto the router.

Files, in the order a request meets them: `served` (which there are; each is loaded when it is first spoken) -> `rim` (raw
ASGI: who may knock, the body, the caller that leaves) -> a face, which reads its dialect, makes a syscall of it, gives that
to the router and writes the answer in the dialect's own form. `wire` is what rim and faces hand each other.

- `mcp`: `jsonrpc` (messages), `mcp_eras` (which revision a request speaks, and whether its headers lie), `mcp_tools` (which
  tools an agent sees, and which syscall each one is).
- `generating` is the face of every dialect in which models are asked; what differs is in `openai_chat`, `openai_responses`
  and `anthropic_messages`, each with a `_stream` that writes its events; OpenAI's two share `openai_errors`, and responses are
  made of `openai_items`. `streaming` carries a stream to its reader, in the words of whichever dialect, ours included.
- `catalogue` lists the models that may be asked for.

Gateway and kernel serve them both. Never decides what an agent may do: capability, policy, budget and audit are the
router's, so that a dialect is a way to say something and never a way around.
"""
