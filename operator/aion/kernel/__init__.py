"""The kernel's process: the control API on :8010, over Redis and the cluster's own objects.

It stands apart from the gateway because it is shared by every agent and may be away for minutes without
any agent noticing: gateways answer syscalls by themselves and only report here.

Files, in the order a request meets them: `dispatch` (raw ASGI) -> `auth` (who asks) -> `routes`, `channel`,
`stream`, `external` (what they ask) -> `store` (what is kept) with `bus` (what is happening now);
`cluster`, `watch`, `registry`, `reviews`, `tenantkeys` are the kernel's view of Kubernetes, and `grants`
turns that view into what one agent may do. `testing` ships the fake API server.

It must never decide a syscall of an agent in a Pod (that is the gateway's), nor write to the cluster.
"""
