import pytest
from kernel_scene import redis_running


@pytest.fixture(scope="session")
def redis_session(tmp_path_factory):
    with redis_running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(redis_session):
    """A real Redis, empty."""
    redis_session.flush()
    return redis_session
