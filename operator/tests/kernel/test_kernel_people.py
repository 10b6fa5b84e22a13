"""People: tokens of a real issuer by real keys, and what their groups let them do."""

import base64
import contextlib
import hashlib
import hmac
import json
import subprocess
import sys
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from kernel_scene import scene
from oidc_issuer import issuing

from aion.api import errors
from aion.kernel import jwks, oidc
from aion.kernel.auth import Asked, Caller
from aion.kernel.jwks import Jwks
from aion.kernel.people import Bearers

ROLES = (
    oidc.Mapped(group="platform", role="operator", tenant="*"),
    oidc.Mapped(group="auditors", role="observer", tenant="*"),
    oidc.Mapped(group="team", role="observer", tenant="team"),
    oidc.Mapped(group="team-leads", role="operator", tenant="team"),
    oidc.Mapped(group="rivals", role="observer", tenant="rivals"),
)


class Cluster:
    """Whoever judges tokens that are not people's."""

    async def caller(self, asked, *, path):
        return Caller(None, "", "operator")


class Stage:
    def __init__(self, issuer, **given):
        self.issuer, self.now = issuer, {"s": 0.0}
        given = oidc.Oidc(issuer=issuer.url, audience="aion-os", roles=ROLES, **given)
        self.keys = Jwks(issuer.url, clock=lambda: self.now["s"])
        self.bearers = Bearers(Cluster(), given, keys=self.keys)

    async def ask(self, token, *, method="GET", tenant=""):
        headers = {"authorization": f"Bearer {token}"} | ({"x-tenant-id": tenant} if tenant else {})
        return await self.bearers.caller(Asked(method, "/v1/agents", headers), path="/v1/agents")

    async def refused(self, token, error=errors.BadSignature, **asked):
        with pytest.raises(error) as caught:
            await self.ask(token, **asked)
        return caught.value.message


@pytest.fixture
async def stage():
    async with issuing() as issuer:
        yield Stage(issuer)


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"])
async def test_a_token_by_any_public_key_of_the_issuer_says_who_asks(stage, algorithm):
    stage.issuer.key("k", algorithm)
    assert await stage.ask(stage.issuer.token("k", groups=["platform"])) == Caller(None, "", "person")


async def test_groups_decide_what_may_be_read_and_the_least_is_nothing(stage):
    def token(*groups):
        return stage.issuer.token("one", groups=list(groups))

    assert (await stage.ask(token("team"))).tenant == "team"
    assert (await stage.ask(token("auditors"))).tenant is None
    assert (await stage.ask(token("auditors"), tenant="rivals")).tenant == "rivals"
    assert (await stage.ask(token("team", "rivals"), tenant="rivals")).tenant == "rivals"
    assert "choose one by X-Tenant-Id: rivals, team" in await stage.refused(
        token("team", "rivals"), errors.TenantMismatch
    )
    await stage.refused(token("team"), errors.TenantMismatch, tenant="rivals")
    for nobody in (token(), token("strangers"), stage.issuer.token("one")):
        assert "kernel.oidc.roles" in await stage.refused(nobody, errors.PolicyDenied)


async def test_an_observer_changes_nothing_and_an_operator_only_where_it_is_one(stage):
    assert "observer" in await stage.refused(
        stage.issuer.token("one", groups=["auditors"]), errors.PolicyDenied, method="POST"
    )
    both = stage.issuer.token("one", groups=["auditors", "team-leads"])
    assert (await stage.ask(both)).tenant is None
    assert (await stage.ask(both, method="POST")).tenant == "team"
    await stage.refused(both, errors.TenantMismatch, method="POST", tenant="rivals")


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"iss": "x"}, None),
        ({"aud": "another"}, errors.BadSignature),
        ({"aud": ["another", "third"]}, errors.BadSignature),
        ({"aud": None}, errors.BadSignature),
        ({"exp": time.time() - 60}, errors.BadSignature),
        ({"exp": None}, errors.BadSignature),
        ({"exp": True}, errors.BadSignature),
        ({"nbf": time.time() + 300}, errors.ClockSkew),
        ({"iat": time.time() + 300}, errors.ClockSkew),
        ({"sub": ""}, errors.BadSignature),
        ({"groups": {"platform": True}}, errors.BadSignature),
        ({"groups": ["x"] * 600}, errors.BadSignature),
    ],
)
async def test_a_token_for_another_for_another_time_or_of_nobody_is_refused(stage, claims, error):
    token = signed_anyhow(stage.issuer, {"groups": ["platform"], **claims})
    if error is None:  # another issuer's: not people's at all, and nothing of it is believed here
        assert (await stage.ask(token)).via == "operator"
    else:
        await stage.refused(token, error)


def signed_anyhow(issuer, claims):
    """A token whose claims are right or not, which the library would not make."""
    now = time.time()
    said = {"iss": issuer.url, "aud": "aion-os", "sub": "jane", "exp": now + 600, **claims}
    said = {name: value for name, value in said.items() if value is not None}
    return jwt.PyJWS().encode(
        json.dumps(said).encode(), issuer.keys["one"][0], algorithm="ES256", headers={"kid": "one"}
    )


async def test_clocks_may_differ_by_half_a_minute(stage):
    now = time.time()
    for claims in ({"exp": now - 20}, {"nbf": now + 20}, {"iat": now + 20}):
        assert (await stage.ask(stage.issuer.token("one", groups=["platform"], **claims))).via == "person"


async def test_no_algorithm_but_the_keys_own_is_believed(stage):
    stage.issuer.key("rsa", "RS256")
    private = stage.issuer.keys["rsa"][0]
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    claims = {"iss": stage.issuer.url, "aud": "aion-os", "sub": "jane", "exp": time.time() + 60, "groups": ["platform"]}

    def part(document):
        return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()

    none = f"{part({'alg': 'none', 'kid': 'rsa'})}.{part(claims)}."
    head = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(claims)}"
    mac = base64.urlsafe_b64encode(hmac.new(pem, head.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
    for token in (
        none,
        none.replace("none", "None"),
        f"{head}.{mac}",
        f"{part({'alg': 'ES256', 'kid': 'rsa'})}.{part(claims)}.AAAA",
    ):
        await stage.refused(token)
    assert (await stage.ask(stage.issuer.token("rsa", groups=["platform"]))).via == "person"


async def test_a_key_that_names_its_algorithm_is_good_for_no_other_of_its_kind(stage):
    stage.issuer.key("rsa", "RS256", alg="RS256")
    await stage.refused(stage.issuer.token("rsa", groups=["platform"], algorithm="PS256"))
    assert (await stage.ask(stage.issuer.token("rsa", groups=["platform"]))).via == "person"


async def test_a_key_that_a_token_brings_along_opens_nothing(stage):
    other = stage.issuer.token("one", groups=["platform"], header={"jwk": stage.issuer.keys["one"][2]})
    head, claims, mac = other.split(".")
    await stage.refused(f"{head}.{claims}.{mac[:-8]}AAAAAAAA")
    async with issuing() as stranger:
        stranger.url = stage.issuer.url
        jku = stranger.token("one", groups=["platform"], header={"jku": f"{stage.issuer.url}/keys"})
        await stage.refused(jku)


@pytest.mark.parametrize("header", [{"typ": "logout+jwt"}, {"crit": ["exp"]}, {"kid": "unknown"}])
async def test_a_token_of_another_kind_or_with_a_condition_nobody_knows_is_refused(stage, header):
    await stage.refused(stage.issuer.token("one", groups=["platform"], header=header))


async def test_an_email_names_nobody_until_it_was_verified():
    async with issuing() as issuer:
        stage = Stage(issuer, username_claim="email")
        await stage.refused(issuer.token("one", groups=["platform"], email="jane@example.com"))
        token = issuer.token("one", groups=["platform"], email="jane@example.com", email_verified=True)
        assert (await stage.ask(token)).via == "person"


# Keys


async def test_a_new_key_is_known_within_seconds_and_an_unknown_one_asks_the_issuer_once(stage):
    await stage.ask(stage.issuer.token("one", groups=["platform"]))
    asked = len(stage.issuer.asked)
    stage.issuer.key("two")
    token = stage.issuer.token("two", groups=["platform"])
    for _ in range(20):
        await stage.refused(token)
    assert len(stage.issuer.asked) == asked  # the set was read just now
    stage.now["s"] += 11
    assert (await stage.ask(token)).via == "person"
    stage.now["s"] += 11
    for n in range(20):
        await stage.refused(stage.issuer.token("two", header={"kid": f"made-up-{n}"}))
    assert len(stage.issuer.asked) == asked + 4  # discovery and keys, twice


async def test_a_key_that_was_taken_out_counts_no_longer_after_five_minutes(stage):
    token = stage.issuer.token("one", groups=["platform"])
    await stage.ask(token)
    del stage.issuer.keys["one"]
    await stage.ask(token)
    stage.now["s"] += jwks.FRESH_S + 1
    await stage.refused(token)


async def test_while_the_issuer_is_away_its_keys_go_on_for_an_hour_and_then_nobody_is_let_in(stage):
    token = stage.issuer.token("one", groups=["platform"])
    await stage.ask(token)
    stage.issuer.broken = True
    stage.now["s"] += 3000
    assert (await stage.ask(token)).via == "person"
    stage.now["s"] += 700
    assert "HTTP 500" in await stage.refused(token, errors.Unavailable)
    stage.issuer.broken = False
    stage.now["s"] += 11
    assert (await stage.ask(token)).via == "person"


@pytest.mark.parametrize(
    "document",
    [{"issuer": "https://another.example"}, {"jwks_uri": "http://elsewhere.example/keys"}, {"jwks_uri": None}],
)
async def test_an_issuer_that_calls_itself_otherwise_or_leads_elsewhere_has_no_keys(stage, document):
    stage.issuer.document = document
    await stage.refused(stage.issuer.token("one", groups=["platform"]), errors.Unavailable)


async def test_an_issuer_elsewhere_leads_to_nothing_on_this_machine():
    asked = []

    async def fetch(url):
        asked.append(url)
        return {"issuer": "https://id.example", "jwks_uri": "http://127.0.0.1:6379/keys", "keys": []}

    with pytest.raises(errors.Unavailable, match="expected an https URL"):
        await jwks.Jwks("https://id.example", fetch=fetch).key("one")
    assert asked == ["https://id.example/.well-known/openid-configuration"]


def test_of_a_set_only_public_keys_that_sign_are_kept():
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "secret", "alg": "HS256"}
    odd = [secret, {"kty": "RSA", "kid": "half"}, {"kty": "EC", "crv": "secp256k1", "kid": "coin"}, 7, None]
    assert jwks.keys_of({"keys": odd}) == {}
    assert jwks.keys_of({"keys": 7}) == jwks.keys_of({}) == {}


@given(
    st.dictionaries(st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub", "groups"]),
                    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.text(max_size=3)))
)  # fmt: skip
def test_no_claims_of_whatever_form_are_more_than_a_refusal_or_a_person(claims):
    by = oidc.Oidc(issuer="https://id.example", audience="aion-os")
    with contextlib.suppress(errors.Unauthenticated):
        assert oidc.person(claims, by, now_s=1_760_000_000.0).name


@given(st.sets(st.sampled_from([each.group for each in ROLES])), st.sampled_from(["GET", "POST"]),
       st.sampled_from(["", "team", "rivals", "nobody"]))  # fmt: skip
def test_nobody_is_led_where_no_group_of_theirs_leads(groups, method, tenant):
    try:
        found = oidc.scope(oidc.Person("jane", frozenset(groups)), ROLES, method=method, tenant=tenant)
    except errors.Forbidden:
        return
    mine = [each for each in ROLES if each.group in groups and (method == "GET" or each.role == "operator")]
    assert {each.tenant for each in mine} & ({found, "*"} if found else {"*"})


@pytest.mark.parametrize(
    "text",
    ['{"issuer":"http://id.example","audience":"a"}', '{"issuer":"https://id.example","audience":""}', "{}", "[]",
     '{"issuer":"https://id.example","audience":"a","roles":[{"group":"g","role":"admin","tenant":"*"}]}',
     '{"issuer":"https://id.example","audience":"a","roles":[{"group":"g","role":"observer"}]}',
     '{"issuer":"https://id.example","audience":"a","roles":[{"group":"","role":"observer","tenant":"*"}]}'],
)  # fmt: skip
def test_a_setting_that_would_open_more_than_it_says_is_refused(text):
    with pytest.raises(ValueError, match=r"kernel\.oidc"):
        oidc.read(text)


def test_a_kernel_without_an_issuer_loads_no_library_for_its_tokens():
    said = subprocess.run(
        [sys.executable, "-c", "import sys, aion.kernel.__main__; print('jwt' in sys.modules)"],
        check=True,
        capture_output=True,
    )
    assert said.stdout == b"False\n"


async def test_a_person_reads_by_the_api_and_speaks_for_no_agent():
    async with issuing() as issuer:
        given = oidc.Oidc(issuer=issuer.url, audience="aion-os", roles=ROLES)
        async with scene(oidc=given) as stage:
            lead = {"Authorization": f"Bearer {issuer.token('one', groups=['team-leads'])}"}
            status, answer = await stage.outsider.ask("GET", "/v1/agents", headers=lead)
            assert (status, [each["agent_id"] for each in answer["agents"]]) == (200, ["agent://team/a"])
            status, answer = await stage.outsider.ask("GET", "/v1/agents?tenant=rivals", headers=lead)
            assert (status, answer["error"]["code"]) == (403, "E_TENANT")
            beat = {"agent_id": "agent://team/a"}
            status, answer = await stage.outsider.ask("POST", "/v1/agent/heartbeat", beat, headers=lead)
            assert (status, answer["error"]["rule"]) == (403, "identity.agent")
            stranger = {"Authorization": f"Bearer {issuer.token('one', groups=['strangers'])}"}
            assert (await stage.outsider.ask("GET", "/v1/agents", headers=stranger))[0] == 403
