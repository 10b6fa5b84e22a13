"""The control API's plain routes: who may ask, what is shown, and that every refusal is the contract's."""

import asyncio
import json

import pytest
from kernel_scene import ID, scene, settlement, until

from aion.api import errors, signing, syscall
from aion.kernel import openapi, routes, testing, views
from aion.kernel.grants import Policy
from aion.kernel.store import Sighting

OUTSIDE = "agent://team/outside"
WHO = {"agent_id": ""}


def bearer(stage, name, *paths):
    stage.cluster.allow(name, *paths)
    return {"Authorization": f"Bearer {stage.cluster.token(name)}"}


# Agents


async def test_an_agent_outside_registers_calls_and_is_listed():
    async with scene() as stage:
        asked = {"agent_id": OUTSIDE, "name": "outside", "version": "2.0.0", "capabilities": ["network", "tool.invoke"]}
        status, granted = await stage.outsider.ask("POST", "/v1/agent/register", asked, agent_id=OUTSIDE)
        assert (status, granted["capabilities"], granted["tools"]) == (200, ["network"], ["echo"])
        assert granted["syscalls"] == ["tool.invoke"]
        assert granted["policy_revision"] == 1
        document = {"agent_id": OUTSIDE, "params": {"tool": "echo", "text": "x"}}
        status, _ = await stage.outsider.ask("POST", "/v1/syscall/tool.invoke", document, agent_id=OUTSIDE)
        assert status == 200
        status, answer = await stage.outsider.ask("GET", "/v1/agents", **WHO)
        listed = {each["agent_id"]: each for each in answer["agents"]}
        assert status == 200
        assert (listed[OUTSIDE]["state"], listed[OUTSIDE]["via"], listed[OUTSIDE]["version"]) == (
            "live",
            "hmac",
            "2.0.0",
        )
        assert (listed[ID]["state"], listed[ID]["last_heartbeat"]) == ("silent", None)
        rows = [json.loads(row.json()) for row in await stage.store.read(0, limit=50)]
        assert [row["agent"] for row in rows if row["type"] == "registered"] == [OUTSIDE]


async def test_a_heartbeat_is_counted_and_answers_what_the_agent_may_do_now():
    async with scene() as stage:
        beat = {"agent_id": ID, "inflight": 1, "usage": {"syscalls": 2}}
        status, granted = await stage.outsider.ask("POST", "/v1/agent/heartbeat", beat)
        assert (status, granted["capabilities"]) == (200, ["network"])
        assert (await stage.store.sighting(ID)).usage == {"syscalls": 2}
        async with stage.session.get(stage.url + "/metrics") as page:
            assert 'aion_agent_heartbeats{agent="a",tenant="team"} 1.0' in await page.text()


async def test_an_agent_that_never_registered_cannot_beat():
    async with scene() as stage:
        status, answer = await stage.outsider.ask(
            "POST", "/v1/agent/heartbeat", {"agent_id": OUTSIDE}, agent_id=OUTSIDE
        )
        assert (status, answer["error"]["code"]) == (403, "E_POLICY")


@pytest.mark.parametrize("path", ["/v1/agent/register", "/v1/agent/heartbeat"])
@pytest.mark.parametrize(
    ("body", "who", "status", "code"),
    [
        ({"agent_id": ID}, {"secret": b"wrong"}, 401, "E_SIGNATURE"),
        ({"agent_id": "agent://rivals/z"}, {}, 403, "E_TENANT"),
        ({"agent_id": "agent://team/b"}, {}, 403, "E_POLICY"),
        ({"agent_id": "b"}, {}, 400, "E_BAD_REQUEST"),
        ({"agent_id": ID, "invented": 1}, {}, 422, "E_PARAMS"),
        ({}, {}, 422, "E_PARAMS"),
        (b"[]", {}, 422, "E_PARAMS"),
        (b"rubbish", {}, 400, "E_BAD_REQUEST"),
        (b"\xff\xfe", {}, 400, "E_BAD_REQUEST"),
        (b"[" * 100_000, {}, 400, "E_BAD_REQUEST"),
        (b"x" * (routes.MAX_BODY + 1), {}, 400, "E_BAD_REQUEST"),
    ],
)
async def test_a_bad_registration_or_heartbeat_is_refused_by_the_contract(path, body, who, status, code):
    async with scene() as stage:
        found, answer = await stage.outsider.ask("POST", path, body, **who)
        assert (found, answer["status"], answer["error"]["code"]) == (status, "error", code)


async def test_a_stranger_learns_nothing_of_a_bodys_form():
    async with scene() as stage:
        status, answer = await stage.outsider.ask("POST", "/v1/agent/register", {"wrong": 1}, headers={})
        assert (status, answer["error"]["code"]) == (401, "E_SIGNATURE")


async def test_a_tenant_lists_its_own_agents_and_an_operator_all_or_one():
    cluster = settlement()
    cluster.put(testing.agent("rivals", "z"))
    async with scene(cluster) as stage:
        await stage.store.see(Sighting("agent://rivals/y", "rivals", "y", "hmac", 1), ttl_s=60)
        ids = lambda answer: [each["agent_id"] for each in answer["agents"]]  # noqa: E731
        outsider, operator = stage.outsider, {"headers": bearer(stage, "jane", "/v1/agents")}
        assert ids((await outsider.ask("GET", "/v1/agents", **WHO))[1]) == [ID]
        assert ids((await outsider.ask("GET", "/v1/agents?tenant=team", **WHO))[1]) == [ID]
        everyone = ["agent://rivals/y", "agent://rivals/z", ID]
        assert ids((await outsider.ask("GET", "/v1/agents", **operator))[1]) == everyone
        assert ids((await outsider.ask("GET", "/v1/agents?tenant=rivals", **operator))[1]) == everyone[:2]
        status, answer = await outsider.ask("GET", "/v1/agents?tenant=rivals", **WHO)
        assert (status, answer["error"]["code"]) == (403, "E_TENANT")


# Audit


async def test_a_record_is_found_by_its_tenant_and_by_an_operator_and_by_nobody_else():
    async with scene() as stage:
        outsider = stage.outsider
        _, done = await outsider.syscall("tool.invoke", {"tool": "echo", "text": "x"})
        path = f"/v1/audit/{done['audit_id']}"
        status, row = await outsider.ask("GET", path, **WHO)
        assert (status, row["audit_id"], row["syscall"]) == (200, done["audit_id"], "tool.invoke")
        status, row = await outsider.ask("GET", path, headers=bearer(stage, "jane", "/v1/audit"))
        assert (status, row["tenant"]) == (200, "team")
        rival = {"tenant": "rivals", "agent_id": "", "secret": b"another secret"}
        foreign, unknown = (
            await outsider.ask("GET", path, **rival),
            await outsider.ask("GET", "/v1/audit/sc-0", **rival),
        )
        assert foreign[0] == unknown[0] == 404
        assert foreign[1]["error"]["message"].replace(done["audit_id"], "sc-0") == unknown[1]["error"]["message"]
        status, _ = await outsider.ask("GET", path, headers={})
        assert status == 401


# Policy


async def test_the_policy_is_shown_whole_to_an_operator_and_to_a_tenant_as_it_concerns_it():
    rules = {
        "deny": ["gpu"],
        "by_tenant": {"team": {"deny": ["net.fetch"]}, "rivals": {"deny": ["memory.*"]}},
        "by_tool": {"echo": {"deny": ["rivals"]}, "secret": {"allow": ["rivals"]}},
    }
    async with scene(settlement(capabilities=rules)) as stage:
        status, whole = await stage.outsider.ask(
            "GET", "/v1/policy/current", headers=bearer(stage, "jane", "/v1/policy/current")
        )
        assert (status, whole["whole"], whole["revision"]) == (200, True, 1)
        assert whole["bundle"]["capabilities"] == rules
        _, own = await stage.outsider.ask("GET", "/v1/policy/current", **WHO)
        assert (own["whole"], own["digest"]) == (False, whole["digest"])
        assert own["bundle"]["capabilities"] == {
            "deny": ["gpu"],
            "by_tenant": {"team": {"deny": ["net.fetch"]}},
            "by_tool": {"echo": {"allow": ["team"]}, "secret": {"deny": ["team"]}},
        }
        assert "rivals" not in json.dumps(own)


def test_what_a_tenant_is_shown_says_the_same_of_it_as_the_whole():
    bundle = testing.bundle(
        capabilities={"by_tenant": {"a": {"deny": ["gpu"]}}, "by_tool": {"t": {"allow": ["a"]}, "u": {"deny": ["a"]}}}
    )
    for tenant in ("a", "b"):
        shown = testing.bundle(
            capabilities=views.policy(Policy.of(bundle, revision=1), tenant=tenant).bundle["capabilities"]
        )
        for tool in ("t", "u", "v"):
            before, after = (each.capabilities.refuse_tool(tool, tenant=tenant) for each in (bundle, shown))
            assert (before is None) == (after is None)
        assert (bundle.capabilities.refuse("gpu", tenant=tenant) is None) == (
            shown.capabilities.refuse("gpu", tenant=tenant) is None
        )
        assert set(shown.capabilities.by_tenant) <= {tenant}


async def test_without_a_policy_there_is_none_to_show():
    cluster = settlement()
    cluster.delete(testing.pointer(testing.bundle(), revision=1))
    async with scene(cluster, ready=False) as stage:
        status, answer = await stage.outsider.ask("GET", "/v1/policy/current", **WHO)
        assert (status, answer["error"]["code"]) == (503, "E_UNAVAILABLE")


# Probes


async def test_readiness_names_each_dependency_that_is_missing():
    cluster = settlement()
    cluster.down = True
    async with scene(cluster, ready=False) as stage:
        assert (await stage.outsider.ask("GET", "/healthz", headers={}))[0] == 200
        stage.store.down = True
        status, said = await stage.outsider.ask("GET", "/readyz", headers={})
        assert (status, said["ready"]) == (503, False)
        assert "down" in said["checks"]["store"]
        assert "have not been read" in said["checks"]["cluster"]
        assert "no Policy aion in namespace aion-system" in said["checks"]["policy"]
        stage.store.down = cluster.down = False
        await until(lambda: ready(stage))


async def ready(stage):
    return (await stage.outsider.ask("GET", "/readyz", headers={})) == (
        200,
        {"ready": True, "checks": {"store": "ok", "cluster": "ok", "policy": "ok"}},
    )


async def test_a_store_that_hangs_does_not_hang_the_probe(monkeypatch):
    monkeypatch.setattr("aion.kernel.probes.PING_S", 0.05)
    async with scene() as stage:
        stage.store.ping = lambda: asyncio.sleep(60)
        status, said = await stage.outsider.ask("GET", "/readyz", headers={})
        assert (status, said["checks"]["store"]) == (503, "the store did not answer within 0.05 s")


async def test_the_page_of_metrics_holds_the_contracts_names():
    async with scene() as stage:
        await stage.outsider.syscall("tool.invoke", {"tool": "echo", "text": "x"})
        await stage.outsider.ask("GET", "/v1/agents", headers={})
        async with stage.session.get(stage.url + "/metrics") as page:
            assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
            text = await page.text()
        for line in (
            'aion_kernel_syscalls_total{decision="allow",syscall="tool.invoke"} 1.0',
            'aion_kernel_syscall_latency_ms_count{syscall="tool.invoke"} 1.0',
            'aion_kernel_syscall_duration_seconds_count{syscall="tool.invoke"} 1.0',
            'aion_kernel_refused_total{code="E_SIGNATURE"} 1.0',
            "aion_policy_info{",
            "aion_kernel_audit_records_total 1.0",
        ):
            assert line in text


# The document, and what is not in it


async def test_the_document_describes_the_error_table_the_syscall_path_and_every_route():
    async with scene() as stage:
        status, document = await stage.outsider.ask("GET", "/openapi.json", headers={})
    assert status == 200
    assert set(document["paths"]) == {
        "/v1/agent/register",
        "/v1/agent/heartbeat",
        "/v1/agents",
        "/v1/audit",
        "/v1/audit/chains",
        "/v1/audit/{audit_id}",
        "/v1/policy/current",
        "/v1/events/stream",
        "/v1/syscall/{name}",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    call = document["paths"]["/v1/syscall/{name}"]["post"]
    assert call["parameters"][0]["schema"]["enum"] == list(syscall.NAMES)
    for code, kind in errors.BY_CODE.items():
        assert code in call["responses"][str(kind.http_status)]["description"]
    assert document["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["code"]["enum"] == sorted(
        errors.BY_CODE
    )
    assert document["components"]["securitySchemes"]["hmac"]["name"] == signing.SIGNATURE
    assert "HTTPValidationError" not in json.dumps(document)


async def test_every_reference_in_the_document_leads_somewhere():
    async with scene() as stage:
        _, document = await stage.outsider.ask("GET", "/openapi.json", headers={})

    def references(node):
        if isinstance(node, dict):
            yield from ([node["$ref"]] if isinstance(node.get("$ref"), str) else [])
            for each in node.values():
                yield from references(each)
        elif isinstance(node, list):
            for each in node:
                yield from references(each)

    found = set(references(document))
    assert openapi.REF.format(model="Registration") in found
    for reference in found:
        at = document
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "E_NO_SYSCALL"),
        ("GET", "/v1/nowhere", 404, "E_NO_SYSCALL"),
        ("POST", "/v1/syscal/x", 404, "E_NO_SYSCALL"),
        ("GET", "/docs", 404, "E_NO_SYSCALL"),
        ("DELETE", "/v1/agents", 400, "E_BAD_REQUEST"),
    ],
)
async def test_what_is_not_there_is_refused_by_the_contract_too(method, path, status, code):
    async with scene() as stage:
        found, answer = await stage.outsider.ask(method, path, headers={})
        assert (found, answer["status"], answer["error"]["code"]) == (status, "error", code)


async def test_a_bug_in_a_route_is_answered_by_the_contract():
    async with scene() as stage:
        stage.store.sightings = None
        status, answer = await stage.outsider.ask("GET", "/v1/agents", **WHO)
        assert (status, answer["error"]["code"]) == (503, "E_UNAVAILABLE")
        assert "Traceback" not in json.dumps(answer)
