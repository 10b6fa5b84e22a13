"""`python -m aion.syscalls.models.standin`: a model's server without a model, that answers like all three kinds.

It stands apart as a program of its own: for tests, benchmarks and demonstrations, on a laptop or in a Pod. What it says is
made of what it is asked, so that it can be checked: without tools it repeats the last words of the user; with tools it
calls the first one, with arguments made by the tool's own schema, and once it is given a result it says what that was.
Some models misbehave, by name, so that everything around a model can be tested. It must never look like one that thinks.

    POST /v1/chat/completions · /v1/messages · /api/chat, streamed or not · GET /v1/models · GET /asked: how often it was asked
    models: echo, and any other name; slow (waits for 50 ms between pieces); hang; hang-midway; half; garbage; garbage-midway;
            no-usage; refuse (400); no-model (404); busy (429); broken (500); redirect; flaky (500 every other time);
            endless (pieces until it is left)
"""

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Json = dict[str, Any]

STATUS = {"refuse": 400, "no-model": 404, "busy": 429, "broken": 500}


class StandIn:
    """The server. `asked` counts questions by model, `left` those whose asker left before the end, `seen` keeps the last."""

    def __init__(self, *, every_s: float = 0.0, key: str = "") -> None:
        self.asked: Counter[str] = Counter()
        self.left = 0
        self.seen: Json = {}
        self.headers: dict[str, str] = {}
        self.port = 0
        self._every_s = every_s
        self._key = key
        self._stopped = asyncio.Event()

    @property
    def url(self) -> str:
        """Where it is, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator["StandIn"]:
        """Serve; on a free port unless one is named."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self._openai)
        app.router.add_post("/v1/messages", self._anthropic)
        app.router.add_post("/api/chat", self._ollama)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/asked", self._counted)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            self._stopped.set()
            await runner.cleanup()

    async def _models(self, _request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "echo", "object": "model"}]})

    async def _counted(self, _request: web.Request) -> web.Response:
        return web.json_response({"asked": self.asked, "left": self.left, "seen": self.seen})

    async def _openai(self, request: web.Request) -> web.StreamResponse:
        asked = await self._question(request)
        said = _say(asked["messages"], [each["function"] for each in asked.get("tools", ())])
        usage = {
            "prompt_tokens": said.asked,
            "completion_tokens": said.tokens,
            "total_tokens": said.asked + said.tokens,
        }
        base = {"id": "chatcmpl-standin", "created": 0, "model": asked["model"]}
        reason = "tool_calls" if said.tool else "stop"
        if not asked.get("stream"):
            message: Json = {"role": "assistant", "content": None if said.tool else said.text}
            if said.tool:
                function = {"name": said.tool, "arguments": said.text}
                message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
            choice = {"index": 0, "message": message, "finish_reason": reason}
            whole = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
            return await self._whole(request, asked, whole)

        def chunk(delta: Json, finish: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            return _sse({**base, "object": "chat.completion.chunk", "choices": [choice]})

        if said.tool:
            function = {"name": said.tool, "arguments": ""}
            begins = chunk(
                {
                    "role": "assistant",
                    "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}],
                }
            )
            pieces = [chunk({"tool_calls": [{"index": 0, "function": {"arguments": each}}]}) for each in said.pieces]
        else:
            begins = chunk({"role": "assistant", "content": ""})
            pieces = [chunk({"content": each}) for each in said.pieces]
        ends = [chunk({}, reason)]
        if asked.get("stream_options", {}).get("include_usage") and asked["model"] != "no-usage":
            ends.append(_sse({**base, "object": "chat.completion.chunk", "choices": [], "usage": usage}))
        return await self._streamed(request, asked, [begins, *pieces], [*ends, b"data: [DONE]\n\n"])

    async def _anthropic(self, request: web.Request) -> web.StreamResponse:
        asked = await self._question(request)
        said = _say(asked["messages"], asked.get("tools", ()))
        usage = {"input_tokens": said.asked, "output_tokens": said.tokens}
        block = {"type": "text", "text": said.text}
        if said.tool:
            block = {"type": "tool_use", "id": "toolu_1", "name": said.tool, "input": json.loads(said.text)}
        whole = {
            "id": "msg_standin",
            "type": "message",
            "role": "assistant",
            "model": asked["model"],
            "content": [block],
            "stop_reason": "tool_use" if said.tool else "end_turn",
            "stop_sequence": None,
            "usage": usage,
        }
        if not asked.get("stream"):
            return await self._whole(request, asked, whole)

        def event(kind: str, **more: Any) -> bytes:  # noqa: ANN401 - JSON
            return f"event: {kind}\n".encode() + _sse({"type": kind, **more})

        empty = {**block, "input": {}} if said.tool else {**block, "text": ""}
        begins = [
            event(
                "message_start",
                message={**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}},
            ),
            event("content_block_start", index=0, content_block=empty),
            event("ping"),
        ]
        kind, name = ("input_json_delta", "partial_json") if said.tool else ("text_delta", "text")
        pieces = [event("content_block_delta", index=0, delta={"type": kind, name: each}) for each in said.pieces]
        delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        counted = {} if asked["model"] == "no-usage" else {"usage": {"output_tokens": said.tokens}}
        ends = [
            event("content_block_stop", index=0),
            event("message_delta", delta=delta, **counted),
            event("message_stop"),
        ]
        return await self._streamed(request, asked, [*begins, *pieces], ends)

    async def _ollama(self, request: web.Request) -> web.StreamResponse:
        asked = await self._question(request)
        said = _say(asked["messages"], [each["function"] for each in asked.get("tools", ())])
        base = {"model": asked["model"], "created_at": "1970-01-01T00:00:00Z"}
        counted = {} if asked["model"] == "no-usage" else {"prompt_eval_count": said.asked, "eval_count": said.tokens}
        done = {"done": True, "done_reason": "stop", **counted}
        message: Json = {"role": "assistant", "content": "" if said.tool else said.text}
        if said.tool:
            message["tool_calls"] = [{"function": {"name": said.tool, "arguments": json.loads(said.text)}}]
        if not asked.get("stream", True):
            return await self._whole(request, asked, {**base, "message": message, **done})

        def line(said: Json, **more: Any) -> bytes:  # noqa: ANN401 - JSON
            return json.dumps({**base, "message": said, "done": False, **more}).encode() + b"\n"

        pieces = (
            [line(message)] if said.tool else [line({"role": "assistant", "content": each}) for each in said.pieces]
        )
        return await self._streamed(
            request, asked, pieces, [line({"role": "assistant", "content": ""}, **done)], kind="application/x-ndjson"
        )

    async def _question(self, request: web.Request) -> Json:
        asked: Json = json.loads(await request.read())
        self.asked[asked["model"]] += 1
        self.seen, self.headers = asked, {name.lower(): value for name, value in request.headers.items()}
        given = self.headers.get("x-api-key") or self.headers.get("authorization", "").removeprefix("Bearer ")
        if self._key and given != self._key:
            raise _error(401, f"Incorrect API key provided: {given}")
        model = asked["model"]
        if model == "redirect":
            raise web.HTTPTemporaryRedirect("/v1/models")
        if model in STATUS or (model == "flaky" and self.asked[model] % 2):
            raise _error(STATUS.get(model, 500), f"{model}, as its name says")
        if model == "hang":
            await self._waits()
        return asked

    async def _whole(self, request: web.Request, asked: Json, whole: Json) -> web.StreamResponse:
        if asked["model"] == "no-usage":
            whole = {name: said for name, said in whole.items() if name not in ("usage", "eval_count")}
        body = b"<html>" if asked["model"] == "garbage" else json.dumps(whole).encode()
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
        await response.prepare(request)
        if asked["model"] == "half":
            await response.write(body[: len(body) // 2])
            return _cut(request, response)
        await response.write(body)
        return response

    async def _streamed(
        self,
        request: web.Request,
        asked: Json,
        pieces: list[bytes],
        ends: list[bytes],
        *,
        kind: str = "text/event-stream",
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        model, middle = asked["model"], len(pieces) // 2
        every_s = 0.05 if model == "slow" else self._every_s
        try:
            await response.prepare(request)
            for at, piece in enumerate(pieces):
                if at == middle and model == "half":
                    return _cut(request, response)
                if at == middle and model == "hang-midway":
                    await self._waits()
                if model == "garbage" or (model == "garbage-midway" and at == middle):
                    await response.write(b"data: {]\n\n")
                await response.write(piece)
                if every_s:
                    await asyncio.sleep(every_s)
            while model == "endless":
                await response.write(pieces[-1])
                await asyncio.sleep(0)
            await response.write(b"".join(ends))
        except (ConnectionError, asyncio.CancelledError):
            self.left += 1
            raise
        return response

    async def _waits(self) -> None:
        try:
            await self._stopped.wait()
        except asyncio.CancelledError:
            self.left += 1
            raise


class _Said:
    def __init__(self, text: str, *, tool: str, asked: int) -> None:
        self.text, self.tool, self.asked = text, tool, asked
        self.pieces = [text[at : at + 4] for at in range(0, len(text), 4)] or [""]
        self.tokens = len(self.pieces)


def _say(messages: list[Json], tools: Any) -> _Said:  # noqa: ANN401 - JSON
    asked = -(-len(json.dumps(messages)) // 4)
    last = messages[-1]
    content = last.get("content")
    results = [each for each in content if each.get("type") == "tool_result"] if isinstance(content, list) else []
    if last["role"] == "tool" or results:
        result = _text(results[-1]["content"] if results else content)
        return _Said(f"The tool said: {result}", tool="", asked=asked)
    words = _text(content)
    if tools:
        schema = tools[0].get("parameters") or tools[0].get("input_schema") or {}
        return _Said(json.dumps(_made_by(schema, words)), tool=tools[0]["name"], asked=asked)
    return _Said(f"You said: {words}", tool="", asked=asked)


def _made_by(schema: Json, words: str) -> Any:  # noqa: ANN401 - JSON
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object" | None if "properties" in schema:
            needed = schema.get("required", list(schema["properties"]))
            return {name: _made_by(schema["properties"].get(name, {}), words) for name in needed}
        case "object":
            return {}
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            return [_made_by(schema.get("items", {}), words)]
    return words


def _text(content: Any) -> str:  # noqa: ANN401 - JSON
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or ())


def _sse(said: Json) -> bytes:
    return b"data: " + json.dumps(said, separators=(",", ":")).encode() + b"\n\n"


def _cut(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return response


def _error(status: int, said: str) -> web.HTTPException:
    kinds: dict[int, type[web.HTTPException]] = {
        400: web.HTTPBadRequest,
        401: web.HTTPUnauthorized,
        404: web.HTTPNotFound,
        429: web.HTTPTooManyRequests,
        500: web.HTTPInternalServerError,
    }
    body = json.dumps({"error": {"message": said, "type": "standin"}})
    headers = {"Retry-After": "1"} if status == 429 else {}
    return kinds[status](text=body, content_type="application/json", headers=headers)


async def serve(host: str, port: int, *, every_s: float) -> None:
    """Serve until cancelled."""
    async with StandIn(every_s=every_s).serving(host=host, port=port) as standin:
        print(f"a stand-in for models listens on {host}:{standin.port}", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Read the command line and serve."""
    about = (__doc__ or "").split("\n\n")[0]
    parser = argparse.ArgumentParser(prog="python -m aion.syscalls.models.standin", description=about)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--every-ms", type=float, default=0.0, help="between the pieces of a stream")
    given = parser.parse_args()
    try:
        asyncio.run(serve(given.host, given.port, every_s=given.every_ms / 1000))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
