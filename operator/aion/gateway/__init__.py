"""The sidecar process: the only door of an agent.

Serves the sockets and keeps the channel to the kernel. Never imports a web framework, a cluster client or the kernel.
"""
