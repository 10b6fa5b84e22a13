"""Who asks: every proof, and every way in which one fails."""

import base64
import hashlib
import hmac
import time

import pytest
from kernel_scene import ID, KEYS, SECRET, signed

from aion.api import errors, signing
from aion.kernel import testing
from aion.kernel.auth import Asked, Caller, Either, Signed, Tokens
from aion.kernel.memorystore import MemoryStore
from aion.kernel.registry import Registry
from aion.kernel.reviews import Memory, Reviews
from aion.kernel.tenantkeys import ClusterKeys
from aion.kernel.testing import FailingStore, FakeCluster

NOW_MS = 1_760_000_000_000
BODY = b'{"params":{}}'
TARGET = "/v1/syscall/tool.invoke"


@pytest.fixture
def authority():
    return Signed(KEYS, MemoryStore(time.monotonic), now_ms=lambda: NOW_MS)


def asked(headers, *, method="POST", target=TARGET, body=BODY):
    raw = [(name.encode(), value.encode()) for name, value in headers]
    path, _, query = target.partition("?")
    scope = {"method": method, "raw_path": path.encode(), "query_string": query.encode(), "headers": raw}
    return Asked.of(scope, body)


def proof(**over):
    given = {"now_ms": NOW_MS, **over}
    return list(signed("POST", TARGET, BODY, **given).items())


async def refused(authority, request, error):
    with pytest.raises(error) as caught:
        await authority.caller(request, path="/v1/agents")
    return caught.value


async def test_a_signed_request_says_who_asks(authority):
    assert await authority.caller(asked(proof()), path="") == Caller("team", ID, "hmac")
    assert await authority.caller(asked(proof(agent_id="")), path="") == Caller("team", "", "hmac")


@pytest.mark.parametrize(
    "change",
    [
        {"body": b'{"params":{"more":1}}'},
        {"method": "PUT"},
        {"target": "/v1/syscall/net.fetch"},
        {"target": TARGET + "?x=1"},
    ],
)
async def test_a_request_that_was_changed_on_its_way_is_refused(authority, change):
    await refused(authority, asked(proof(), **change), errors.BadSignature)


@pytest.mark.parametrize("name", ["X-Tenant-Id", "X-Aion-Key-Id", "X-Aion-Timestamp", "X-Aion-Nonce", "X-Sig-HMAC"])
async def test_without_one_of_its_headers_it_is_no_signature(authority, name):
    await refused(authority, asked([each for each in proof() if each[0] != name]), errors.BadSignature)


@pytest.mark.parametrize(
    "over",
    [
        {"secret": b"wrong"},
        {"key_id": "other"},
        {"tenant": "nobody", "agent_id": "agent://nobody/a"},
        {"tenant": "../x"},
    ],
)
async def test_a_wrong_key_and_an_unknown_tenant_are_the_same_refusal(authority, over):
    wrong = await refused(authority, asked(proof(**{"agent_id": "", **over})), errors.BadSignature)
    assert "key" not in wrong.message or "no valid key" in wrong.message


async def test_one_tenants_key_does_not_open_another(authority):
    await refused(authority, asked(proof(tenant="rivals", agent_id="agent://rivals/z")), errors.BadSignature)
    await refused(authority, asked(proof(agent_id="agent://rivals/z")), errors.BadSignature)


@pytest.mark.parametrize("order", [("team", "rivals"), ("rivals", "team")])
async def test_a_header_that_stands_twice_is_refused_whichever_a_reader_would_take(order):
    """The keys of the first tenant must never prove the second."""
    made = dict(proof(tenant="rivals", agent_id=""))
    del made["X-Tenant-Id"]
    with pytest.raises(errors.BadSignature, match="twice"):
        asked([*(("X-Tenant-Id", each) for each in order), *made.items()])
    with pytest.raises(errors.BadSignature, match="twice"):
        asked([("Authorization", "Bearer a"), ("authorization", "Bearer b")])


async def test_a_nonce_is_good_once_also_at_another_replica():
    store = MemoryStore(time.monotonic)
    one, other = (Signed(KEYS, store, now_ms=lambda: NOW_MS) for _ in range(2))
    request = asked(proof())
    await one.caller(request, path="")
    await refused(one, request, errors.Replay)
    await refused(other, request, errors.Replay)


async def test_a_nonce_whose_mac_was_wrong_is_not_remembered(authority):
    nonce = "a-nonce-of-some-length"
    await refused(authority, asked(proof(nonce=nonce, secret=b"wrong")), errors.BadSignature)
    await authority.caller(asked(proof(nonce=nonce)), path="")


async def test_two_tenants_may_use_the_same_nonce(authority):
    nonce = "a-nonce-of-some-length"
    await authority.caller(asked(proof(nonce=nonce)), path="")
    await authority.caller(asked(proof(nonce=nonce, tenant="rivals", agent_id="", secret=b"another secret")), path="")


@pytest.mark.parametrize("late_ms", [signing.WINDOW_MS + 1, -signing.WINDOW_MS - 1])
async def test_a_clock_outside_the_window_is_told_by_how_much(authority, late_ms):
    wrong = await refused(authority, asked(proof(now_ms=NOW_MS - late_ms)), errors.ClockSkew)
    assert "30.0 s" in wrong.message


async def test_the_edge_of_the_window_is_inside(authority):
    await authority.caller(asked(proof(now_ms=NOW_MS - signing.WINDOW_MS)), path="")
    await authority.caller(asked(proof(now_ms=NOW_MS + signing.WINDOW_MS)), path="")


async def test_the_legacy_mac_over_the_body_alone_is_refused_by_name(authority):
    legacy = hmac.new(SECRET, BODY, hashlib.sha256).hexdigest()
    headers = [(name, legacy if name == "X-Sig-HMAC" else value) for name, value in proof()]
    assert "legacy" in (await refused(authority, asked(headers), errors.BadSignature)).message


async def test_during_a_rotation_either_key_signs(authority):
    old, new = (dict(proof(secret=secret))["X-Sig-HMAC"] for secret in (b"old", SECRET))
    headers = dict(proof())
    right = headers["X-Sig-HMAC"]
    headers["X-Sig-HMAC"] = f"{old},{right}"
    assert (await authority.caller(asked(headers.items()), path="")).tenant == "team"
    assert new != right  # another nonce: only the MAC over this one counts


async def test_without_a_store_nobody_can_be_told_from_a_replay():
    store = FailingStore()
    store.down = True
    await refused(Signed(KEYS, store, now_ms=lambda: NOW_MS), asked(proof()), errors.Unavailable)


# Tokens


@pytest.fixture
def cluster():
    return FakeCluster()


@pytest.fixture
def agents():
    known = Registry().agents
    known.put(testing.agent("team", "a"))
    return known


@pytest.fixture
def tokens(cluster, agents):
    return Tokens(Reviews(cluster), audience="aion-kernel", agents=agents)


def bearing(token):
    return asked([("Authorization", f"Bearer {token}")], method="GET", target="/v1/agents", body=b"")


async def test_a_gateways_token_says_agent_and_pod(cluster, tokens):
    request = bearing(cluster.gateway_token("team", "a", pod="a-1", uid="u1"))
    assert await tokens.gateway(request) == Caller("team", ID, "token", pod="a-1", pod_uid="u1")
    assert (await tokens.caller(request, path="/v1/agents")).tenant == "team"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "abc"])
async def test_what_is_no_bearer_token_is_refused(tokens, header):
    with pytest.raises(errors.BadSignature, match="Authorization: Bearer"):
        await tokens.gateway(asked([("Authorization", header)] if header else []))


async def test_a_gateways_token_for_another_audience_opens_no_channel(cluster, tokens):
    for audience in (None, "someone-else"):
        token = cluster.gateway_token("team", "a", pod="a-1", audience=audience)
        with pytest.raises(errors.BadSignature, match="audience 'aion-kernel'"):
            await tokens.gateway(bearing(token))


async def test_an_authenticator_that_ignores_audiences_does_not_pass_for_one_that_checked(cluster, tokens):
    token = cluster.gateway_token("team", "a", pod="a-1")
    answer = cluster.create

    async def forgetful(path, body):
        review = await answer(path, body)
        review["status"].pop("audiences", None)
        return review

    cluster.create = forgetful
    with pytest.raises(errors.BadSignature):
        await tokens.gateway(bearing(token))


async def test_only_an_agents_account_opens_a_channel(cluster, tokens):
    for name in ("jane", "system:serviceaccount:team:default", "system:serviceaccount:team:agent-"):
        with pytest.raises(errors.PolicyDenied, match="not an agent's ServiceAccount"):
            await tokens.gateway(bearing(cluster.token(name, audience="aion-kernel")))


async def test_an_operator_sees_what_rbac_allows_and_is_told_what_to_bind(cluster, tokens):
    token = cluster.token("jane")
    with pytest.raises(errors.PolicyDenied, match=r"nonResourceURLs \['/v1/agents'\]"):
        await tokens.caller(bearing(token), path="/v1/agents")
    cluster.allow("joe", "/v1/agents")
    assert await tokens.caller(bearing(cluster.token("joe")), path="/v1/agents") == Caller(None, "", "operator")
    with pytest.raises(errors.PolicyDenied):
        await tokens.caller(bearing(cluster.token("joe")), path="/v1/audit")


async def test_an_unknown_token_is_refused(tokens):
    with pytest.raises(errors.BadSignature, match="not valid"):
        await tokens.caller(bearing("made-up"), path="/v1/agents")


async def test_an_agent_is_known_by_its_pods_token_for_the_kernel_and_by_no_other_of_its_account(cluster, tokens):
    account = "system:serviceaccount:team:agent-a"
    stolen = cluster.token(account, pod=("a-1", "u1"))  # what a Pod that mounts the API server's token would hold
    with pytest.raises(errors.PolicyDenied, match="audience 'aion-kernel' alone"):
        await tokens.caller(bearing(stolen), path="/v1/agents")
    for pod in (None, ("b-1", "u1"), ("a-1", "")):
        made = bearing(cluster.token(account, audience="aion-kernel", pod=pod))
        for ask in (tokens.gateway(made), tokens.caller(made, path="/v1/agents")):
            with pytest.raises(errors.PolicyDenied, match="bound to a Pod of Agent a"):
                await ask


async def test_a_pod_that_is_not_the_agents_of_now_reads_nothing(cluster, tokens, agents):
    request = bearing(cluster.gateway_token("team", "a", pod="a-1"))
    agents.put(testing.agent("team", "a") | {"status": {"podName": "a-2"}})
    with pytest.raises(errors.PolicyDenied, match="that of Agent a is a-2"):
        await tokens.caller(request, path="/v1/agents")
    agents.replace([])
    with pytest.raises(errors.PolicyDenied, match="no Agent a in team"):
        await tokens.caller(request, path="/v1/agents")


async def test_a_refused_token_is_asked_about_again_sooner_than_a_good_one(cluster, agents):
    now = {"s": 0.0}
    tokens = Tokens(Reviews(cluster, clock=lambda: now["s"]), audience="aion-kernel", agents=agents)
    for _ in range(3):
        with pytest.raises(errors.BadSignature):
            await tokens.gateway(bearing("made-up"))
    assert len(cluster.asked) == 1
    now["s"] = 11.0
    with pytest.raises(errors.BadSignature):
        await tokens.gateway(bearing("made-up"))
    assert len(cluster.asked) == 2


async def test_answers_are_remembered_for_a_moment_and_outages_are_not(cluster, agents):
    now = {"s": 0.0}
    tokens = Tokens(Reviews(cluster, clock=lambda: now["s"]), audience="aion-kernel", agents=agents)
    request = bearing(cluster.gateway_token("team", "a", pod="a-1"))
    cluster.down = True
    with pytest.raises(errors.Unavailable, match="cannot be reviewed"):
        await tokens.gateway(request)
    cluster.down = False
    await tokens.gateway(request)
    await tokens.gateway(request)
    assert len(cluster.asked) == 2
    now["s"] = 61.0
    cluster.down = True
    with pytest.raises(errors.Unavailable):
        await tokens.gateway(request)


async def test_a_bearer_token_that_fails_does_not_fall_back_to_the_signature(cluster, tokens, authority):
    either = Either(tokens, authority)
    assert (await either.caller(asked(proof()), path="")).via == "hmac"
    await refused(either, asked([*proof(), ("Authorization", "Bearer made-up")]), errors.BadSignature)


def test_the_memory_of_answers_has_an_end(monkeypatch):
    monkeypatch.setattr("aion.kernel.reviews.REMEMBERED", 3)
    memory = Memory(60, lambda: 0.0)
    for n in range(5):
        memory.put(str(n), n)
    assert [memory.get(str(n)) for n in range(5)] == [None, None, 2, 3, 4]


# Callers


def test_a_caller_speaks_for_itself_alone():
    Caller("team", "", "hmac").owns(ID)
    Caller("team", ID, "hmac").owns(ID)
    with pytest.raises(errors.TenantMismatch):
        Caller("rivals", "", "hmac").owns(ID)
    with pytest.raises(errors.TenantMismatch, match="operator"):
        Caller(None, "", "operator").owns(ID)
    with pytest.raises(errors.PolicyDenied):
        Caller("team", "agent://team/b", "hmac").owns(ID)
    with pytest.raises(errors.BadRequest):
        Caller("team", "", "hmac").owns("a")


def test_what_is_shown_is_narrowed_to_the_callers_tenant():
    assert Caller("team", "", "hmac").narrow(None) == "team"
    assert Caller("team", "", "hmac").narrow("team") == "team"
    assert Caller(None, "", "operator").narrow(None) is None
    assert Caller(None, "", "operator").narrow("team") == "team"
    with pytest.raises(errors.TenantMismatch):
        Caller("team", "", "hmac").narrow("rivals")


# Keys


def secret(tenant, **data):
    encoded = {name: base64.b64encode(value).decode() for name, value in data.items()}
    metadata = {"name": "aion-tenant-keys", "namespace": tenant}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}


async def test_keys_come_from_the_tenants_secret_without_the_line_break_an_editor_leaves(cluster):
    cluster.put(secret("team", default=b"abc\n", next=b"def", empty=b"\n"))
    assert await ClusterKeys(cluster).ring("team") == {"default": b"abc", "next": b"def"}


async def test_a_rotated_key_counts_within_half_a_minute(cluster):
    now = {"s": 0.0}
    keys = ClusterKeys(cluster, clock=lambda: now["s"])
    cluster.put(secret("team", default=b"old"))
    await keys.ring("team")
    cluster.put(secret("team", default=b"new"))
    assert await keys.ring("team") == {"default": b"old"}
    now["s"] = 31.0
    assert await keys.ring("team") == {"default": b"new"}


async def test_a_tenants_name_never_becomes_a_path(cluster):
    for name in ("../kube-system", "team/secrets/x?", "TEAM", "", "a" * 64):
        assert await ClusterKeys(cluster).ring(name) == {}
    assert cluster.asked == []


async def test_an_api_server_that_is_away_is_not_a_tenant_without_keys(cluster):
    keys = ClusterKeys(cluster)
    cluster.down = True
    with pytest.raises(errors.Unavailable):
        await keys.ring("team")
    cluster.down = False
    cluster.put(secret("team", default=b"abc"))
    assert await keys.ring("team") == {"default": b"abc"}


async def test_a_key_that_is_not_base64_is_passed_over(cluster):
    body = secret("team", default=b"abc")
    body["data"]["broken"] = "***"
    cluster.put(body)
    assert await ClusterKeys(cluster).ring("team") == {"default": b"abc"}
