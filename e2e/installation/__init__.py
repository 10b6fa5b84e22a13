"""AION-OS on the local cluster, as a user would install it: images, chart, samples, and a look at the answer.

Standard library only, like `clusters`, on which it stands: `e2e/up` runs it on a machine that has nothing yet, and the
scenarios and benchmarks use the same hands. It must never do what a user could not: no access to etcd, no image that
the chart's values do not name.
"""
