"""One Argo CD for the whole run, and for each scenario a repository and a namespace of its own."""

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import argo as argocd
from gitrepo import Repository
from installation.fixtures import kubectl
from installation.kubectl import Kubectl

__all__ = ["kubectl"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "gitops" in item.path.parts:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(1800))  # the first run builds Argo CD


@pytest.fixture(scope="session")
def argo(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[argocd.Argo]:
    with argocd.running(kubectl, tmp_path_factory.mktemp("argocd")) as running:
        yield running


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture
def name() -> str:
    """Of a scenario's Application and of its namespace."""
    return f"gitops-{uuid.uuid4().hex[:6]}"


@pytest.fixture
def took(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Callable[[str, float], None]:
    """Say how long something took; nothing is judged by it."""

    def say(what: str, seconds: float) -> None:
        with capsys.disabled():
            print(f"\n  {request.node.name}: {what} after {seconds:.1f} s", end="")

    return say
