"""Where net.fetch may go, argued with as an attacker would: every spelling of an inner address, every trick with names."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as some

from aion.api import errors
from aion.api.grant import FetchRule
from aion.syscalls import egress

PUBLIC = ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"]
PRIVATE = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12:3456::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"]
SELF = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]
NODE = [
    "169.254.169.254",
    "169.254.170.2",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "fe80::1",
]
CLOUD = [
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "::ffff:168.63.129.16",
]
NOBODY = ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "240.0.0.1", "255.255.255.255", "4000::1", "64:ff9b:1::7f00:1", "::ffff:0:7f00:1"]  # fmt: skip


def ip(text: str) -> egress.Address:
    found = egress.address(text)
    assert found is not None
    return found


def allowed(host: str, *, private: bool = False, port: int = 443) -> egress.Allowed:
    return egress.Reach([FetchRule(host, (port,), private)], revision=7).verify(host.replace("*.", "www."), port)


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_may_be_dialled(text: str):
    assert allowed("example.org").admits(ip(text))


@pytest.mark.parametrize("text", [*PRIVATE, *SELF, *NODE, *CLOUD, *NOBODY])
def test_nothing_but_a_public_address_may_be_dialled_by_a_plain_rule(text: str):
    with pytest.raises(errors.PolicyDenied) as denied:
        allowed("example.org").choose([ip(text)])
    assert denied.value.rule == "egress.private@rev7: the rule for example.org does not say private"


@pytest.mark.parametrize("text", PRIVATE)
def test_a_private_rule_reaches_hosts_of_the_cluster(text: str):
    assert allowed("search.demo.svc", private=True).admits(ip(text))


@pytest.mark.parametrize("text", [*SELF, *NODE, *CLOUD, *NOBODY])
def test_no_private_rule_reaches_this_pod_the_node_or_the_clouds_own_services_by_a_name(text: str):
    assert not allowed("search.demo.svc", private=True).admits(ip(text))
    assert not allowed("*.demo.svc", private=True).admits(ip(text))


def test_a_private_rule_that_names_an_inner_address_means_that_one_alone():
    assert allowed("127.0.0.1", private=True).admits(ip("127.0.0.1"))
    assert not allowed("127.0.0.1", private=True).admits(ip("127.0.0.2"))
    assert not allowed("127.0.0.1").admits(ip("127.0.0.1"))
    assert allowed("localhost", private=True).admits(ip("::1"))
    assert not allowed("localhost", private=True).admits(ip("169.254.169.254"))
    assert not allowed("localhost").admits(ip("127.0.0.1"))


INNER = some.ip_addresses(v=4).filter(lambda each: not each.is_global)
WRAPPED = [
    lambda inner: f"::ffff:{inner}",
    lambda inner: f"64:ff9b::{int(inner) >> 16:x}:{int(inner) & 0xFFFF:x}",
    lambda inner: f"2002:{int(inner) >> 16:x}:{int(inner) & 0xFFFF:x}::1",
    lambda inner: f"2001:0:4136:e378:8000:63bf:{~int(inner) >> 16 & 0xFFFF:x}:{~int(inner) & 0xFFFF:x}",
    lambda inner: f"::{inner}",
]


@given(INNER, some.sampled_from(WRAPPED))
def test_no_wrapping_in_ipv6_makes_an_inner_address_public(inner: ipaddress.IPv4Address, wrap):
    assert not egress.is_public(inner)
    assert not egress.is_public(ip(wrap(inner)))
    assert not (egress.is_private_host(ip(wrap(inner))) and (inner.is_loopback or inner.is_link_local))


@given(some.ip_addresses())
def test_an_address_is_public_or_a_private_host_or_neither_and_never_both(found: egress.Address):
    assert not (egress.is_public(found) and egress.is_private_host(found))


@given(some.lists(some.sampled_from([*PUBLIC, *PRIVATE, *SELF, *NODE]), min_size=1, max_size=6), some.booleans())
def test_of_a_names_many_addresses_only_those_that_were_judged_fit_are_left(texts: list[str], private: bool):
    rule = allowed("example.org", private=private)
    fit = [ip(text) for text in texts if text in PUBLIC or (private and text in PRIVATE)]
    if fit:
        assert rule.choose([ip(text) for text in texts]) == fit
    else:
        with pytest.raises(errors.PolicyDenied):
            rule.choose([ip(text) for text in texts])


def test_a_name_without_any_address_is_denied_and_not_dialled():
    with pytest.raises(errors.PolicyDenied, match=r"example\.org is nothing"):
        allowed("example.org").choose([])


RULES = [
    FetchRule("api.example.org"),
    FetchRule("*.example.org", (443,)),
    FetchRule("*.deep.example.org", (8443,), private=True),
    FetchRule("[fd12::1]", (80,), private=True),
    FetchRule("Shouting.Example.NET"),
]


@pytest.mark.parametrize(
    ("host", "port", "by"),
    [
        ("api.example.org", 80, "api.example.org"),
        ("API.Example.ORG.", 443, "api.example.org"),
        ("www.example.org", 443, "*.example.org"),
        ("a.b.example.org", 443, "*.example.org"),
        ("x.deep.example.org", 8443, "*.deep.example.org"),
        ("x.deep.example.org", 443, "*.example.org"),
        ("fd12::1", 80, "[fd12::1]"),
        ("shouting.example.net", 80, "Shouting.Example.NET"),
    ],
)
def test_the_exact_name_goes_before_the_longest_suffix(host: str, port: int, by: str):
    assert egress.Reach(RULES, revision=7).verify(host, port).rule.host == by


@pytest.mark.parametrize(
    ("host", "port", "why"),
    [
        ("example.org", 443, "no rule names this host"),
        ("evilexample.org", 443, "no rule names this host"),
        ("api.example.org.evil.net", 443, "no rule names this host"),
        ("", 443, "no rule names this host"),
        ("www.example.org", 80, "port 80 is not among those of *.example.org"),
        ("api.example.org", 22, "port 22 is not among those of api.example.org"),
    ],
)
def test_what_no_rule_names_is_denied_by_rule_and_revision(host: str, port: int, why: str):
    with pytest.raises(errors.PolicyDenied) as denied:
        egress.Reach(RULES, revision=7).verify(host, port)
    assert denied.value.rule == f"egress.allow@rev7: {why}"


def test_without_rules_there_is_nowhere_to_go_and_a_star_is_everywhere():
    with pytest.raises(errors.PolicyDenied):
        egress.Reach([], revision=7).verify("example.org", 443)
    anywhere = egress.Reach([FetchRule("*")], revision=7)
    assert anywhere.verify("1.1.1.1", 443).admits(ip("1.1.1.1"))
    assert not anywhere.verify("127.0.0.1", 80).admits(ip("127.0.0.1"))


@pytest.mark.parametrize("text", ["localhost", "127.1", "2130706433", "0x7f000001", "", "::1%", "1.2.3.4.5"])
def test_a_spelling_that_only_a_resolver_takes_for_an_address_is_a_name(text: str):
    found = egress.address(text)
    assert found is None or text == "::1%"
