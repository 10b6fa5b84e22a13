"""One real control plane for all faults: etcd, API server, and the controllers that collect garbage and end namespaces."""

import sys
from pathlib import Path

import pytest

_TESTS = Path(__file__).resolve().parents[2] / "operator" / "tests"
sys.path[:0] = [str(_TESTS), str(_TESTS / "controller")]

import controller_process  # noqa: E402

from apiserver_fixture import apiserver  # noqa: E402
from faulty import World  # noqa: E402

__all__ = ["apiserver"]


@pytest.fixture(scope="session")
def installation(apiserver, tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    kubeconfig = controller_process.install(apiserver, folder)
    with World.over(apiserver, kubeconfig, folder) as world:
        yield world


@pytest.fixture
def world(installation):
    yield installation
    installation.end_controllers()


@pytest.fixture
def team(world):
    """A namespace of the test's own, empty again at its end."""
    name = world.namespace()
    yield name
    world.clear(name)


@pytest.fixture
def recovered(request, capsys):
    """Say how long recovering took; the limit is a test's to judge."""

    def say(what, seconds):
        with capsys.disabled():
            print(f"\n  {request.node.name}: {what} after {seconds:.1f} s", end="")
        return seconds

    return say
