"""The egress proxy: net.fetch for programs that know nothing of us, by HTTP CONNECT and by absolute-form requests.

Files, in the order a connection meets them: `face` (a listener of its own, for no ASGI server serves CONNECT) ->
`asked` (the request's head, read strictly) -> `tunnel` (the syscall: judged by the router, dialled by the address that was
judged) -> `relay` (bytes both ways, until somebody ends it). What passes through is looked at only where it decides who
is spoken to: `hello` (the name in a TLS greeting), `framing` (where a request's body ends), `answering` (heads that go
back). Apart from the faces for syscalls because here a caller is never given a result, but a way. Never resolves a name
twice, never dials an address that was not judged, and never logs a header.
"""
