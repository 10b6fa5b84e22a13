import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from aion.sandbox import ceiling, errors, profiles


@pytest.fixture
def sealed() -> dict[str, Any]:
    return json.loads(profiles.load(profiles.CHECKOUT)["sealed"].body)


def judge(document: dict[str, Any]) -> None:
    ceiling.DEFAULT.verify(ceiling.SeccompProfile("mine", document))


def test_the_shipped_profiles_stay_below_the_ceiling_and_are_named_by_their_bytes():
    for name, profile in profiles.catalog().items():
        ceiling.DEFAULT.verify(ceiling.parse(profile.body, name=name))
        assert profile.sha256 == hashlib.sha256(profile.body).hexdigest()
        assert profile.path == f"aion/{profile.sha256}.json"
        assert profile.node_label == f"seccomp.aion.os/{profile.sha256[:16]}"


@pytest.mark.parametrize("call", sorted(frozenset().union(*ceiling.FORBIDDEN.values())))
@pytest.mark.parametrize("action", ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE"])
def test_a_forbidden_call_is_refused_by_name(sealed: dict[str, Any], call: str, action: str):
    sealed["syscalls"].append(
        {"names": [call], "action": action, "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}
    )
    with pytest.raises(errors.ProfileTooWide, match=call):
        judge(sealed)


@pytest.mark.parametrize("arch", ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_MIPS"])
def test_a_32_bit_twin_is_refused(sealed: dict[str, Any], arch: str):
    sealed["architectures"].append(arch)
    with pytest.raises(errors.ProfileTooWide, match=arch):
        judge(sealed)


def test_leaving_the_architecture_to_the_runtime_is_refused(sealed: dict[str, Any]):
    without = {k: v for k, v in sealed.items() if k != "architectures"}
    with pytest.raises(errors.ProfileTooWide, match="architectures"):
        judge(without)
    with pytest.raises(errors.ProfileTooWide, match="archMap"):
        judge(sealed | {"archMap": []})


@pytest.mark.parametrize("action", ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", None])
def test_a_default_that_allows_is_refused(sealed: dict[str, Any], action: str | None):
    with pytest.raises(errors.ProfileTooWide, match="defaultAction"):
        judge(sealed | {"defaultAction": action})


@pytest.mark.parametrize(
    "args",
    [
        None,
        [],
        [{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}],
        [{"index": 0, "value": 2, "op": "SCMP_CMP_NE"}],
        [{"index": 1, "value": 1, "op": "SCMP_CMP_EQ"}],
        [{"index": 0, "value": 16, "op": "SCMP_CMP_LE"}],
        [{"index": 0, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}],
    ],
)
@pytest.mark.parametrize("call", ["socket", "socketpair", "clone"])
def test_a_loose_argument_is_as_good_as_none(sealed: dict[str, Any], call: str, args: list[dict[str, Any]] | None):
    sealed["syscalls"].append({"names": [call], "action": "SCMP_ACT_ALLOW", **({} if args is None else {"args": args})})
    with pytest.raises(errors.ProfileTooWide, match=call):
        judge(sealed)


def test_a_second_exact_rule_is_no_harm(sealed: dict[str, Any]):
    sealed["syscalls"].append(copy.deepcopy(sealed["syscalls"][1]))
    judge(sealed)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff"])
def test_what_cannot_be_read_is_not_trusted(body: bytes):
    with pytest.raises(errors.ProfileTooWide, match="mine"):
        ceiling.parse(body, name="mine")


def test_an_empty_folder_says_which_setting_to_change(tmp_path: Path):
    with pytest.raises(errors.ProfileMissing, match="AION_SANDBOX_PROFILES"):
        profiles.load(tmp_path)
