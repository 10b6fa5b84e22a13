"""The local cluster: one command, two providers.

`kind` where a container engine answers, `native` (a real single-node Kubernetes out of processes of
this machine) where none does. Standard library only: this runs first on a machine that has nothing.
It must never depend on AION-OS itself: whoever debugs the operator has to be able to trust the cluster.
"""
