"""The kernel's process: the control API on :8010, over Redis and the cluster's own objects.

It stands apart from the gateway because it is shared by every agent and may be away for minutes without
any agent noticing: gateways answer syscalls by themselves and only report here.

Files, in the order a request meets them: `aion.serving` (sockets) -> `dispatch` (raw ASGI: the syscall path or FastAPI) ->
`intake` (its body) -> `auth` (who asks; `reviews`, `tenantkeys` know; older MACs by `bodymac`, people by `people`, `oidc` and `jwks`; how often, by `edge`
and `rates`) -> what is asked: `external` (a syscall from
outside the cluster, for `residents`, on record by `recorder`), `unsigned` (the dialects, on a laptop alone), `routes` with `views` (agents, policy),
`audits` (the audit read back), `channel`
(a gateway), `stream` (events), `probes` -> `refusal` where the answer is no.
Behind them: `store` (what is kept) in `memorystore` or `redisstore` with `append.lua`, `drafts` (what is written there), `chains` (whether records follow on one another), `quotas` with `lend.lua` (what a
tenant has left; `lending` answers who asks, `purses` ask for this
process),
`bus` (what is happening now). The kernel's view of Kubernetes is `cluster` (four verbs), `watch` (keeps a picture
current), `scope` (of which namespaces), `registry` (the picture) and `policysource` (which policy is in force); `grants` turns them into what one agent
may do. `leaving` is how a replica goes. `app` puts all of it together for a cluster, a laptop or a test; `settings` and `__main__` are the process;
`openapi`, `metrics` and `clock` describe, count and tell the time. `testing` ships the fakes.

It must never decide a syscall of an agent in a Pod (that is the gateway's), nor write to the cluster.
"""
