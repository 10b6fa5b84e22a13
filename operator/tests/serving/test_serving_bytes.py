"""Bytes as the network brings them: cut anywhere, joined with others, or no HTTP at all."""

import asyncio
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from serving_stage import get, stage


def post(path, body, *, chunks):
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\n"
    if not chunks:
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    pieces = [body[at : at + chunks] for at in range(0, len(body), chunks)]
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + b"".join(
        b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""]
    )


REQUEST = st.one_of(
    st.sampled_from(["/a", "/deaf", "/b?c=%2e"]).map(lambda path: (get(path), 0)),
    st.tuples(st.binary(max_size=300), st.integers(0, 40)).map(
        lambda made: (post("/p", made[0], chunks=made[1]), len(made[0]))
    ),
)


@settings(max_examples=60)
@given(st.lists(REQUEST, min_size=1, max_size=5), st.lists(st.integers(0, 2000), max_size=8))
def test_however_the_bytes_are_cut_every_request_has_its_own_answer(requests, cuts):
    async def run():
        async with stage(head_s=5.0, body_s=5.0) as at:
            wire, sent, begin = await at.wire(), b"".join(request for request, _ in requests), 0
            for cut in sorted({cut for cut in cuts if cut < len(sent)} | {len(sent)}):
                await wire.say(sent[begin:cut])
                begin = cut
                await asyncio.sleep(0)
            bodies = [json.loads((await wire.answer())[2])["body"] for _ in requests]
            assert bodies == [size for _, size in requests]
            assert len(at.connections) == 1

    asyncio.run(run())


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4))
def test_bytes_of_no_meaning_end_in_a_refusal_or_a_deadline_and_the_next_caller_is_served(pieces):
    async def run():
        async with stage(head_s=0.03, body_s=0.03, idle_s=0.03) as at:
            wire = await at.wire()
            for piece in pieces:
                wire.writer.write(piece)
                await asyncio.sleep(0)
            said = await wire.ended()
            assert said == b"" or said.startswith(b"HTTP/1.1 ")
            assert not at.connections
            assert (await (await at.wire(get())).answer())[0] == 200

    asyncio.run(run())
