"""The sidecar process: the only door of an agent.

Files, in the order a syscall meets them: `listeners` (sockets that were open before Python was) -> `aion.serving` (HTTP on
them) -> `peers` (whose process is at the other end) -> `agentface` (raw ASGI, by `asgi`; what is no syscall of ours, and
what is answered by a stream, goes through `aion.dialects`) -> the router of `aion.syscalls`, which asks `door` (by which
grant), signs for tools with `keys` and shows models' backends their keys with `modelkeys`. `proxy/` is the other way in:
CONNECT and absolute-form requests on sockets of their own, as `net.fetch` for programs that know nothing of us. Beside it:
`podface` for kubelet and Prometheus, `parking` (how the agent is
stopped), `admission` (when it may begin, and whether it lives), `channel` (grants down from the kernel, audit up).
`settings` and `__main__` assemble.

Serves the sockets and keeps the channel to the kernel. Never imports a web framework, a cluster client or the kernel.
"""
