"""What of the cluster the kernel follows: every namespace, or only those that its installation is bound to.

Apart from the assembly because rights decide it: a kernel that is bound has rights in its namespaces alone, so each of them is a collection of its own, and
each Tenant, which lies in no namespace, is asked for by its name. It must never ask for more than the chart's Roles of the same scope give.
"""

from collections.abc import Callable, Coroutine, Sequence
from functools import partial

from aion.kernel import watch
from aion.kernel.cluster import Cluster
from aion.kernel.registry import Registry

API = "/apis/aion.os/v1"
AGENTS = f"{API}/agents"
TOOLS = f"{API}/tools"
TENANTS = f"{API}/tenants"

Work = Callable[[], Coroutine[None, None, None]]


def follow(cluster: Cluster, registry: Registry, *, namespaces: Sequence[str] = ()) -> list[Work]:
    """What keeps the registry current, to be run in the background."""
    if not namespaces:
        return [
            partial(watch.keep, cluster, AGENTS, registry.agents),
            partial(watch.keep, cluster, TOOLS, registry.tools),
            partial(watch.keep, cluster, TENANTS, registry.tenants),
        ]
    found: list[Work] = []
    for namespace in namespaces:
        home = f"{API}/namespaces/{namespace}"
        found += [
            partial(watch.keep, cluster, f"{home}/agents", registry.agents.part(namespace)),
            partial(watch.keep, cluster, f"{home}/tools", registry.tools.part(namespace)),
            partial(watch.keep, cluster, f"{TENANTS}?fieldSelector=metadata.name={namespace}", registry.tenants.part(namespace)),
        ]  # fmt: skip
    return found
