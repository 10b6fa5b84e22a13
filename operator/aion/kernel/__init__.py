"""The control API process on :8010: agents, events, channel, external syscalls.

Nobody imports this package.
"""
