"""Every scenario needs the running cluster."""

import pytest

from installation.fixtures import kernel, kubectl, tenant

__all__ = ["kernel", "kubectl", "tenant"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "scenarios" in item.path.parts:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(300))
