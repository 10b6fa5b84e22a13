"""The process in a Tool's Pod: runs one tool's code, a call at a time and confined.

Never reaches the network itself: a tool's wishes go back to its caller as nested syscalls.
"""
