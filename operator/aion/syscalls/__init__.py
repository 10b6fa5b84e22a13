"""The router that gateway and kernel share: identify, admit, dispatch, settle, audit; one module a syscall.

`router` the path of every call · `call` what travels along it · `rights` a grant made ready to be looked up · `policies`
the decisions every call meets · `budgets` money · `schemas` params · `egress` where net.fetch may go · `tool_invoke`,
`net_fetch` the syscalls · `toolchannels`, `toollink` the connections to tool runners · `testing` fakes, typed and
shipped. Apart because both processes must decide alike. Never serves a socket and never imports a process.
"""
