"""Each of these needs the running cluster, and an image with a framework in it."""

import pytest

from installation.fixtures import kernel, kubectl, tenant

__all__ = ["kernel", "kubectl", "tenant"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "frameworks" in item.path.parts:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(900))  # the first run takes the framework from PyPI
