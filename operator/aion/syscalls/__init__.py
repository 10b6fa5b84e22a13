"""The router that gateway and kernel share: identify, admit, dispatch, settle, audit; one module a syscall.

`router` the path of every call · `call` what travels along it · `stream` an answer that comes piece by piece · `rights`
a grant made ready to be looked up · `policies` the decisions every call meets · `budgets` money and tokens (`purse` what the
tenant has lent of both) · `schemas` params · `egress` where net.fetch may go · `tool_invoke`, `net_fetch`,
`model_generate` the syscalls (`fetchplan` judges a fetch, `fetching` goes out; `modelroutes` who answers for a model,
`models/` how it is asked) · `toolchannels`, `toollink` the connections to tool runners · `websocket` what they and the
gateway's channel run on (`wsupgrade`, `wsframes` its bytes) · `testing` fakes, typed and shipped.

Apart because both processes must decide alike. Never serves a socket and never imports a process.
"""
