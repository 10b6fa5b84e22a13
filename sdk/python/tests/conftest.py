"""What the SDK's tests share: a socket's path, and the two clients in turn."""

from pathlib import Path

import pytest
from sdk_faces import FACES

from aion_sdk import call


@pytest.fixture
def gw(tmp_path: Path) -> Path:
    """Where a gateway's socket may be."""
    return tmp_path / "gw.sock"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other ten times as fast, where a test waits for the last of them."""
    monkeypatch.setattr(call, "FIRST_PAUSE_S", call.FIRST_PAUSE_S / 10)


@pytest.fixture(params=sorted(FACES))
def face(request: pytest.FixtureRequest):
    """A client's class: `with face(ME, url) as agent: agent.syscall(…)`."""
    return FACES[request.param]
