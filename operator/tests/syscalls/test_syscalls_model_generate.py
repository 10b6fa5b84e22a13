"""model.generate against servers that answer as OpenAI, Ollama and Anthropic do, and against servers that misbehave."""

import asyncio
import json

import msgspec
import pytest
from models_stage import KINDS, asking, at_rest, backend, gathered, routed, staged, streamed
from syscalls_stage import ME

from aion.api import errors
from aion.api.grant import FetchRule, ModelRoute
from aion.syscalls import testing
from aion.syscalls.models import attempts, reading
from aion.syscalls.models.standin import StandIn
from aion.syscalls.router import Reply

NAME = "model.generate"
WEATHER = {
    "name": "weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_question_is_answered_and_paid_for_by_what_was_counted(kind: str):
    async with staged(kind) as (stage, _):
        answer = await stage.call(NAME, {"model": "echo", "prompt": "hello there"})
    result = answer.body["result"]
    assert result["message"] == {"role": "assistant", "content": "You said: hello there"}
    assert (result["finish_reason"], result["model"], result["backend"]) == ("stop", "echo", kind)
    usage = result["usage"]
    assert answer.body["engine"] == {"kind": "model", "name": f"{kind}/echo"}
    assert (stage.record.subject, stage.record.tokens_in, stage.record.tokens_out) == (
        "echo",
        usage["tokens_in"],
        usage["tokens_out"],
    )
    assert stage.record.micro_usd == -(-(usage["tokens_in"] * 150_000 + usage["tokens_out"] * 600_000) // 1_000_000)
    assert at_rest(stage)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("streams", [False, True])
async def test_a_tool_is_called_and_its_result_understood(kind: str, *, streams: bool):
    async with staged(kind) as (stage, _):
        turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "Oslo"}]

        async def ask(messages: list[object]) -> object:
            asked = {"model": "echo", "messages": messages, "tools": [WEATHER]}
            if streams:
                return json.loads(msgspec.json.encode((await gathered(await streamed(stage, **asked))).message()))
            return (await stage.call(NAME, asked)).body["result"]["message"]

        said = await ask([*turns])
        (call,) = said["tool_calls"]
        assert (call["name"], json.loads(call["arguments"])) == ("weather", {"city": "Oslo"})
        said = await ask([*turns, said, {"role": "tool", "tool_call_id": call["id"], "content": "rain"}])
        assert said == {"role": "assistant", "content": "The tool said: rain"}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_says_the_same_as_a_whole_answer_and_costs_the_same(kind: str):
    async with staged(kind) as (stage, _):
        whole = (await stage.call(NAME, {"model": "echo", "prompt": "a longer sentence"})).body
        stream = await streamed(stage, model="echo", prompt="a longer sentence")
        made = await gathered(stream)
    assert made.message().text == whole["result"]["message"]["content"]
    assert made.finish_reason == "stop"
    one, other = stage.audit.records
    assert (one.micro_usd, one.tokens_in, one.tokens_out) == (other.micro_usd, other.tokens_in, other.tokens_out)
    assert other.micro_usd > 0
    assert not stream.tokens.estimated
    assert at_rest(stage)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("usage", [True, False])
async def test_bytes_of_the_callers_dialect_are_relayed_untouched(kind: str, *, usage: bool):
    async with staged(kind) as (stage, standin):
        stream = await streamed(stage, dialect=kind, model="echo", prompt="untouched", stream_usage=usage)
        async with stream:
            assert stream.relayed
            relayed = b"".join([piece async for piece in stream])  # type: ignore[misc]
        direct = await _direct(standin, kind)
    if kind == "openai" and not usage:
        *events, last = direct.split(b"\n\n")[:-1]
        direct = b"\n\n".join([*(each for each in events if b'"usage":{' not in each), last]) + b"\n\n"
    assert relayed == direct
    assert stage.record.tokens_out > 0


async def _direct(standin: StandIn, kind: str) -> bytes:
    import aiohttp

    path = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}[kind]
    async with aiohttp.ClientSession() as client, client.post(standin.url + path, json=standin.seen) as response:
        return await response.read()


async def test_a_caller_of_another_dialect_gets_chunks():
    async with staged("anthropic") as (stage, _):
        assert (await gathered(await streamed(stage, dialect="openai", model="echo", prompt="x"))).message().text


def picture(url: str) -> list[object]:
    return [{"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image", "url": url}]}]


@pytest.mark.parametrize(
    ("url", "code", "capabilities"),
    [
        ("https://pictures.example/a.png", None, ("network",)),
        ("data:image/png;base64,AA==", None, ()),
        ("https://pictures.example/a.png", "E_CAPABILITY", ()),
        ("https://elsewhere.example/?my=secret", "E_POLICY", ("network",)),
        ("https://pictures.example:8443/a.png", "E_POLICY", ("network",)),
        ("http://169.254.169.254/latest/meta-data/", "E_POLICY", ("network",)),
        ("http://10.0.0.1/a.png", "E_POLICY", ("network",)),
        ("file:///etc/passwd", "E_PARAMS", ("network",)),
        ("//pictures.example/a.png", "E_PARAMS", ("network",)),
        ("https://me:secret@pictures.example/a.png", "E_PARAMS", ("network",)),
    ],
)
async def test_a_picture_that_the_backend_fetches_is_one_that_the_agent_may_fetch(
    url: str, code: str | None, capabilities: tuple[str, ...]
):
    rules = (FetchRule("pictures.example"), FetchRule("10.0.0.1", (80,)))
    async with staged(fetch=rules, capabilities=capabilities) as (stage, standin):
        answer = await stage.call(NAME, {"model": "echo", "messages": picture(url), "max_tokens": 5})
    assert (answer.body.get("error") or {}).get("code") == code
    assert sum(standin.asked.values()) == (0 if code else 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_that_does_not_count_costs_the_worst(kind: str):
    async with staged(kind) as (stage, _):
        stream = await streamed(stage, model="no-usage", prompt="hello", max_tokens=500)
        await gathered(stream)
    assert stream.tokens.estimated
    assert stage.record.tokens_out == 500
    assert stage.record.tokens_in >= len("hello")


async def test_a_whole_answer_that_does_not_count_costs_the_worst():
    async with staged() as (stage, _):
        await stage.call(NAME, {"model": "no-usage", "prompt": "hello", "max_tokens": 500})
    assert stage.record.tokens_out == 500


@pytest.mark.parametrize("kind", KINDS)
async def test_who_leaves_stops_the_backend_and_pays_for_what_was_seen(kind: str):
    async with staged(kind) as (stage, standin):
        async with await streamed(stage, model="hang-midway", prompt="x" * 400) as stream:
            for _ in range(10):
                await anext(stream)
        async with asyncio.timeout(3):
            while not standin.left:
                await asyncio.sleep(0.005)
    assert stage.record.decision == "allow"
    assert 10 <= stage.record.tokens_out <= 60  # half of what it would have said came
    assert stage.record.tokens_in >= 100
    assert at_rest(stage)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_an_endless_stream_is_taken_only_as_fast_as_it_is_read(kind: str):
    async with staged(kind) as (stage, standin):
        async with await streamed(stage, dialect=kind, model="endless", prompt="x") as stream:
            size = 0
            async for piece in stream:
                size += len(piece)  # type: ignore[arg-type]
                if size > 500_000:
                    break
        async with asyncio.timeout(3):
            while not standin.left:
                await asyncio.sleep(0.005)
    assert at_rest(stage)


BROKEN = [("half", "E_UPSTREAM"), ("garbage", "E_UPSTREAM"), ("garbage-midway", "E_UPSTREAM")]


@pytest.mark.parametrize(("model", "code"), BROKEN)
@pytest.mark.parametrize("kind", KINDS)
async def test_half_and_broken_streams_are_errors_and_no_second_attempt_is_made(kind: str, model: str, code: str):
    async with staged(kind) as (stage, standin):
        with pytest.raises(errors.UpstreamFailed, match=f"backend {kind}"):
            await gathered(await streamed(stage, model=model, prompt="x" * 100))
    assert stage.record.code == code
    assert standin.asked[model] == 1
    assert at_rest(stage)


@pytest.mark.parametrize("model", ["half", "garbage"])
@pytest.mark.parametrize("kind", KINDS)
async def test_half_and_broken_answers_are_errors_and_cost_what_they_may_have(kind: str, model: str):
    async with staged(kind) as (stage, standin):
        answer = await stage.call(NAME, {"model": model, "prompt": "x", "max_tokens": 9})
    assert (answer.status, answer.code) == (502, "E_UPSTREAM")
    assert stage.record.tokens_out == 9
    assert standin.asked[model] == 1


async def test_a_backend_that_hangs_is_left_at_the_deadline_and_may_have_to_be_paid():
    async with staged() as (stage, standin):
        answer = await stage.call(NAME, {"model": "hang", "prompt": "x", "max_tokens": 7}, budget={"latency_ms": 100})
        assert (answer.status, answer.code) == (504, "E_TIMEOUT")
        async with asyncio.timeout(3):
            while not standin.left:
                await asyncio.sleep(0.005)
    assert stage.record.tokens_out == 7
    assert at_rest(stage)


async def test_a_stream_that_falls_silent_is_left_at_the_deadline():
    async with staged() as (stage, _):
        with pytest.raises(errors.TimedOut):
            await gathered(
                await streamed(stage, model="hang-midway", prompt="x" * 99, limits={"budget": {"latency_ms": 150}})
            )
    assert 0 < stage.record.tokens_out < 30
    assert at_rest(stage)


REFUSED = [
    ("refuse", 422, "E_PARAMS", "refuses the question (400): refuse, as its name says"),
    ("no-model", 502, "E_UPSTREAM", "does not know the model (404)"),
    ("redirect", 502, "E_UPSTREAM", "redirects (307), which is not followed"),
]


@pytest.mark.parametrize(("model", "status", "code", "says"), REFUSED)
async def test_what_asking_again_cannot_mend_is_asked_once(model: str, status: int, code: str, says: str):
    async with staged() as (stage, standin):
        answer = await stage.call(NAME, {"model": model, "prompt": "x"})
    assert (answer.status, answer.code) == (status, code)
    assert says in answer.error["message"]
    assert standin.asked[model] == 1
    assert stage.record.micro_usd == 0


async def test_a_server_error_is_asked_again_before_the_first_byte(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.01)
    async with staged() as (stage, standin):
        assert (await stage.call(NAME, {"model": "flaky", "prompt": "x"})).status == 200
        await gathered(await streamed(stage, model="flaky", prompt="x"))
    assert standin.asked["flaky"] == 4


async def test_nobody_there_is_told_after_every_round(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.01)
    async with asking(routed(backend("http://127.0.0.1:1"))) as stage:
        answer = await stage.call(NAME, {"model": "echo", "prompt": "x"})
    assert (answer.status, answer.code) == (502, "E_UPSTREAM")
    assert "backend openai cannot be reached" in answer.error["message"]
    assert stage.record.micro_usd == 0


async def test_the_next_backend_answers_where_the_first_cannot(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attempts, "ROUNDS", 1)
    async with StandIn().serving() as standin, StandIn(key="right").serving() as locked:
        first, second = backend("http://127.0.0.1:1", name="gone"), backend(locked.url, name="locked")
        third = backend(standin.url, "ollama", name="well")
        async with asking(routed(first, second, third), keys=testing.FixedKeys(locked="wrong")) as stage:
            answer = await stage.call(NAME, {"model": "echo", "prompt": "x"})
            assert answer.body["result"]["backend"] == "well"
            needs = {"model": "echo", "prompt": "x", "tools": [WEATHER], "tool_choice": "required"}
            cannot = await stage.call(NAME, needs)
    assert cannot.code == "E_PARAMS"
    assert "cannot be told to call a tool" in cannot.error["message"]


async def test_a_storm_of_429_rests_the_backend_and_the_caller_hears_when_to_come_back():
    async with StandIn().serving() as standin:
        async with asking(routed(backend(standin.url))) as stage:
            asks = [stage.call(NAME, {"model": "busy", "prompt": "x"}, budget={"latency_ms": 700}) for _ in range(50)]
            answers = await asyncio.gather(*asks)
    assert {answer.status for answer in answers} == {502}
    assert all(b"retry-after" in answer.headers for answer in answers)
    assert standin.asked["busy"] <= 50
    assert at_rest(stage)


async def test_after_failures_on_end_nobody_asks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attempts, "ROUNDS", 1)
    async with staged() as (stage, standin):
        for _ in range(9):
            answer = await stage.call(NAME, {"model": "broken", "prompt": "x"})
        assert "nobody is asked for the moment" in answer.error["message"]
        assert b"retry-after" in answer.headers
    assert standin.asked["broken"] == 5


async def test_the_key_goes_to_its_backend_and_nowhere_else():
    async with StandIn(key="sk-secret").serving() as standin:
        backends = [backend(standin.url, kind, key="shared") for kind in KINDS]
        routes = [ModelRoute(model=f"{each.name}-model", backends=(each.name,), upstream="echo") for each in backends]
        grant = testing.granted(models=routes, backends=backends)
        async with asking(grant, keys=testing.FixedKeys(shared="sk-secret", openai="other")) as stage:
            for kind in KINDS:
                answer = await stage.call(NAME, {"model": f"{kind}-model", "prompt": "x"})
                assert answer.status == 200, answer
                assert "sk-secret" not in json.dumps(answer.body)
        async with asking(grant, keys=testing.FixedKeys(shared="sk-wrong")) as stage:
            answer = await stage.call(NAME, {"model": "openai-model", "prompt": "x"})
    assert (answer.code, "refuses its key (401)" in answer.error["message"]) == ("E_UPSTREAM", True)
    assert "sk-wrong" not in json.dumps(answer.body)


async def test_an_unknown_model_is_refused_with_what_there_is():
    one = backend("http://127.0.0.1:1")
    routes = (ModelRoute(model="local", backends=("openai",)), ModelRoute(model="claude-*", backends=("openai",)))
    refused = {"model:gpt-*": "policy.models.allow_cloud: false"}
    async with asking(testing.granted(models=routes, backends=(one,), refused=refused)) as stage:
        unknown = await stage.call(NAME, {"model": "gemini", "prompt": "x"})
        denied = await stage.call(NAME, {"model": "gpt-5", "prompt": "x"})
    assert (unknown.status, unknown.code) == (422, "E_PARAMS")
    assert unknown.error["details"]["models"] == ["local", "claude-*"]
    assert (denied.status, denied.code) == (403, "E_POLICY")
    assert denied.error["rule"] == "models.gpt-*@rev7: policy.models.allow_cloud: false"
    assert "local, claude-*" in denied.error["message"]


async def test_a_budget_that_the_worst_would_overrun_is_refused_before_anything_is_asked():
    async with staged(budget_micro_usd=100) as (stage, standin):
        answer = await stage.call(NAME, {"model": "echo", "prompt": "x", "max_tokens": 1000})
        assert (answer.status, answer.code) == (402, "E_BUDGET")
        assert (await stage.call(NAME, {"model": "echo", "prompt": "x", "max_tokens": 100})).status == 200
    assert standin.asked["echo"] == 1
    assert at_rest(stage)


async def test_who_cannot_read_a_stream_is_told_to_ask_without():
    async with staged() as (stage, standin):
        answer = await stage.call(NAME, {"model": "echo", "prompt": "x", "stream": True})
    assert (answer.code, answer.error["details"]["errors"][0]["path"]) == ("E_PARAMS", "/stream")
    assert not standin.asked


async def test_an_event_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "MAX_STREAM", 1000)
    async with staged() as (stage, _):
        with pytest.raises(errors.UpstreamFailed, match="more than 1000 bytes"):
            await gathered(await streamed(stage, model="endless", prompt="x"))


async def test_connections_are_kept_between_calls():
    peers = set()
    async with staged() as (stage, standin):
        original = standin._question

        async def noting(request):  # type: ignore[no-untyped-def]
            peers.add(request.transport.get_extra_info("peername"))
            return await original(request)

        standin._question = noting  # type: ignore[method-assign]
        for _ in range(3):
            await stage.call(NAME, {"model": "echo", "prompt": "x"})
            await gathered(await streamed(stage, model="echo", prompt="x"))
    assert len(peers) == 1


async def test_many_streams_at_once_keep_within_the_budget():
    async with staged(every_s=0.001, budget_micro_usd=20_000) as (stage, _):

        async def one(n: int) -> None:
            reply = await stage.router.serve(
                NAME,
                testing.request(NAME, {"model": "echo", "prompt": "x" * n, "max_tokens": 5000, "stream": True}),
                ME,
            )
            if not isinstance(reply, Reply):
                await gathered(reply)

        await asyncio.gather(*(one(n) for n in range(40)))
        ledger = stage.door.standings[testing.AGENT].ledger
    assert at_rest(stage)
    assert ledger.spent == sum(record.micro_usd for record in stage.audit.records) <= 20_000
    codes = {record.code for record in stage.audit.records}
    assert codes == {"", "E_BUDGET"}


async def test_a_models_span_says_what_was_asked_by_the_names_of_the_genai_conventions():
    async with staged(trace_ratio=1.0) as (stage, _):
        await stage.call(NAME, {"model": "echo", "prompt": "x"})
    about = stage.spans.spans[0].attributes
    assert (about["gen_ai.operation.name"], about["gen_ai.request.model"]) == ("chat", "echo")
    assert about["gen_ai.usage.input_tokens"] == stage.record.tokens_in


async def test_a_streams_latency_is_until_its_first_piece():
    async with staged() as (stage, _):
        await gathered(await streamed(stage, model="slow", prompt="x" * 20))
    assert stage.record.held_ms > 200
    assert stage.record.latency_ms < stage.record.held_ms
