"""The router that gateway and kernel share: identify, admit, dispatch, settle, audit; one module a syscall.

Apart because both processes must decide alike. Never serves a socket and never imports a process.
"""
