"""The cluster out of processes of this machine: no container engine, no registry, no virtual machine.

One module a part. `provider` walks the stages in order; each stage looks before it acts, so that a
broken run is mended by running it again. `clean` knows every trace that any part can leave.
"""
