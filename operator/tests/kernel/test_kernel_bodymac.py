"""The MAC over the body alone: only where a Tenant says so, and for no more than it covers."""

import hashlib
import hmac
import json

from kernel_scene import ID, SECRET, scene, settlement

from aion.kernel import testing

CALL = {"syscall": "tool.invoke", "agent_id": ID, "params": {"tool": "echo", "text": "hello"}}
PATH = "/v1/syscall/tool.invoke"


def old(document, *, secret=SECRET, tenant="team", **headers):
    body = json.dumps(document).encode()
    return body, {"X-Tenant-Id": tenant, "X-Sig-HMAC": hmac.new(secret, body, hashlib.sha256).hexdigest(), **headers}


async def ask(stage, path, document, *, method="POST", **over):
    body, headers = old(document, **over)
    return await stage.outsider.ask(method, path, body, headers=headers)


def lenient():
    cluster = settlement()
    cluster.put(testing.tenant("team", auth={"legacyBodyHmac": True}))
    cluster.put(testing.tenant("rivals"))
    return cluster


async def test_an_older_client_is_served_where_its_tenant_says_so_and_counted():
    async with scene(lenient()) as stage:
        status, answer = await ask(stage, PATH, CALL)
        assert (status, answer["result"]) == (200, {"text": "hello"})
        async with stage.session.get(stage.url + "/metrics") as page:
            assert "aion_kernel_legacy_hmac_total 1.0" in await page.text()


async def test_where_no_tenant_says_so_it_is_told_what_to_do():
    for cluster, tenant in ((settlement(), "team"), (lenient(), "rivals"), (lenient(), "nobody")):
        async with scene(cluster) as stage:
            status, answer = await ask(stage, PATH, CALL, tenant=tenant, secret=b"another secret")
            assert (status, answer["error"]["code"]) == (401, "E_SIGNATURE")
            assert "legacyBodyHmac" in answer["error"]["message"]
            assert stage.tools.asked == []


async def test_what_the_mac_does_not_cover_is_not_believed():
    async with scene(lenient()) as stage:
        unnamed = {name: value for name, value in CALL.items() if name != "syscall"}
        for path, document, over in (
            ("/v1/syscall/net.fetch", CALL, {}),
            (PATH, unnamed, {}),
            (PATH, CALL, {"method": "PUT"}),
            (PATH, CALL, {"secret": b"wrong"}),
            (PATH, CALL, {"X-Sig-HMAC": "00"}),
        ):
            status, answer = await ask(stage, path, document, **over)
            assert (status, answer["error"]["code"]) in {(401, "E_SIGNATURE"), (400, "E_BAD_REQUEST")}
        status, answer = await ask(stage, PATH, CALL, **{"X-Aion-Agent-Id": "agent://team/other"})
        assert status == 200  # the body's agent speaks, whatever the header says
        status, _ = await stage.outsider.ask("GET", "/v1/agents", headers=old({})[1])
        assert status == 401
        assert len(stage.tools.asked) == 1
