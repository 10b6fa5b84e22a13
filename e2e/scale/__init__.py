"""A control plane of one's own with nodes that are none: for questions of thousands of Agents, not of containers.

Everything that decides is real: etcd, API server, scheduler. KWOK plays the kubelets, so that a Pod that was scheduled is
Running and Ready at once and costs no memory. Apart from `clusters`, whose cluster runs containers. It must never touch
that cluster: it has its own folder and its own loopback ports, and ends by process id.
"""
