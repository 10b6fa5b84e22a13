"""The contracts: kinds, syscalls, channel, signing, policy, errors.

Pure data and rules that every process and both SDKs agree on. Never does I/O, never imports another package of ours.
"""
