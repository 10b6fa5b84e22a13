"""What a broken app's caller hears."""

import asyncio
import json
import logging

import pytest
from serving_stage import Wire

from aion.serving import sockets
from aion.serving.server import Server


async def asked(app, caplog):
    server, bound = Server(), sockets.bind("127.0.0.1", 0)
    await server.listen(bound, app)
    reader, writer = await asyncio.open_connection("127.0.0.1", bound.getsockname()[1])
    writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    try:
        with caplog.at_level(logging.CRITICAL, "uvicorn.error"):
            return await Wire(reader, writer).answer()
    finally:
        writer.close()
        await server.close(within_s=1)


async def test_a_bug_is_answered_by_the_contract(caplog):
    async def broken(scope, receive, send):
        raise RuntimeError("secret detail")

    status, headers, body = await asked(broken, caplog)
    assert (status, headers["connection"]) == (503, "close")
    assert json.loads(body)["error"]["code"] == "E_UNAVAILABLE"
    assert b"secret" not in body


@pytest.mark.parametrize("cut", [RuntimeError, asyncio.CancelledError])
async def test_half_an_answer_is_never_followed_by_another(caplog, cut):
    async def half(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise cut

    with pytest.raises(asyncio.IncompleteReadError) as ended:
        await asked(half, caplog)
    assert ended.value.partial == b"half"
