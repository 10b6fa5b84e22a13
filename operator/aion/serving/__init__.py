"""HTTP and WebSocket on sockets that are open already: what gateway and kernel serve by.

Apart from both because a stranger's connection is the same danger to either: what it may hold, how long and how much, is
decided here once. uvicorn's protocols do the work, without uvicorn's server, which takes signals for itself, wakes ten
times a second and ends by its own clock.

Files, in the order a connection meets them: `sockets` (listening) -> `server` (listeners, and how they end) -> `pool`
(how many connections, and which of them has to go for a newcomer) -> `connection` (one of them: its deadlines) ->
`framing` (what two readers of one request could understand differently) -> `answering` (the app, with an answer for whatever breaks). `limits` is all the numbers.

It must never ask who somebody is: that is the app's. Never imports a web framework, nor anything of ours but the contracts.
"""
