"""Which dialects a process serves, and that each is there when it is first spoken."""

import pytest
from dialects_stage import Stage

from aion.dialects.served import Served
from aion.syscalls import testing


@pytest.mark.parametrize("path", ["/mcp", "/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/models"])
def test_each_path_has_one_face_that_says_the_same_of_itself(path: str):
    stage = Stage(testing.granted())
    served = Served(stage.router, standing=lambda who: stage.door.standing(who, who.agent_id))
    face = served.at(path)
    assert face is not None
    assert path in face.paths
    assert served.at(path) is face
    assert path in served.paths


async def test_what_is_served_nowhere_is_nothing_and_closing_early_is_no_trouble():
    stage = Stage(testing.granted())
    served = Served(stage.router, standing=lambda who: stage.door.standing(who, who.agent_id))
    assert served.at("/v1/elsewhere") is None
    await served.close()
