"""The operator process: watch, queue, plan, apply for the kinds of `aion.os`.

Only `kube` speaks to Kubernetes; plans are pure. Nobody imports this package.
"""
