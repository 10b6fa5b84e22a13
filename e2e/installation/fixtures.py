"""What every suite on the cluster has: the installation, the kernel as an operator sees it, and a namespace of its own.

Apart from the suites because there are several, and pytest shares fixtures only downwards: each conftest imports those it wants.
"""

import uuid
from collections.abc import Iterator

import pytest

from clusters.failure import Failed
from installation import kernel as kernels
from installation.kernel import Kernel
from installation.kubectl import Kubectl
from installation.tenancy import Tenancy


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    try:
        found = Kubectl.of_local_cluster()
        found.run("get", "deployment", "aion-controller", "-n", "aion-system")
    except Failed as absent:
        pytest.fail(f"this needs the installation that `e2e/up` makes: {absent}", pytrace=False)
    return found


@pytest.fixture(scope="session")
def kernel(kubectl: Kubectl) -> Iterator[Kernel]:
    with kernels.connected(kubectl) as connection:
        yield connection


@pytest.fixture
def tenant(kubectl: Kubectl, request: pytest.FixtureRequest) -> Iterator[Tenancy]:
    """A restricted namespace of the scenario's own, deleted with everything in it."""
    name = f"{request.node.originalname.removeprefix('test_')[:30].strip('_').replace('_', '-')}-{uuid.uuid4().hex[:6]}"
    with Tenancy(kubectl, name).existing() as tenancy:
        yield tenancy
