"""The error tree: the drawing, the classes and the contract say the same."""

import copy
import pickle
import re

import pytest

import aion_sdk
from aion.api import errors as contract
from aion_sdk import errors

TABLE = {  # HTTP status: codes, as in the table of the syscall's contract
    400: {"E_BAD_REQUEST"},
    401: {"E_SIGNATURE", "E_REPLAY", "E_CLOCK"},
    403: {"E_CAPABILITY", "E_POLICY", "E_TENANT"},
    404: {"E_NO_SYSCALL", "E_NO_TOOL"},
    402: {"E_BUDGET"},
    409: {"E_PREEMPT", "E_FENCED", "E_VERSION", "E_UNKNOWN_OUTCOME"},
    413: {"E_TOO_LARGE"},
    422: {"E_PARAMS"},
    429: {"E_QUOTA", "E_BUSY"},
    502: {"E_UPSTREAM"},
    504: {"E_TIMEOUT"},
    503: {"E_UNAVAILABLE"},
}


def drawn(text: str) -> dict[str, tuple[str, str | None]]:
    """Each class of a drawing, with the class above it and its code."""
    tree, above = {}, []
    for line in text.splitlines():
        found = re.match(r"    ([ │├└─]*)(\w+)(?: +\d{3})?(?: +(E_\w+))?(?:  |$)", line)
        if found:
            depth = len(found[1]) // 4
            above[depth:] = [found[2]]
            tree[found[2]] = (above[depth - 1] if depth else "", found[3])
    return tree


def built(root: type) -> dict[str, tuple[str, str | None]]:
    tree = {root.__name__: ("", None)}
    for kind in root.__subclasses__():
        below = built(kind)
        tree |= below | {kind.__name__: (root.__name__, None if len(below) > 1 else kind.code)}
    return tree


def test_the_drawing_is_the_tree():
    assert drawn(errors.__doc__) == built(errors.SyscallError)


def test_the_tree_is_the_one_that_gateway_and_kernel_raise():
    assert built(errors.SyscallError) == built(contract.SyscallError)


def test_the_tree_holds_the_contracts_codes_and_no_other():
    assert set(errors.BY_CODE) == set().union(*TABLE.values())
    assert {code: kind.http_status for code, kind in contract.BY_CODE.items()} == {
        code: status for status, codes in TABLE.items() for code in codes
    }
    for codes in TABLE.values():
        kinds = [errors.of(code) for code in codes]
        assert len(kinds) == 1 or len({kind.__bases__ for kind in kinds}) == 1, "codes of one status share a parent"


def test_a_text_tells_everything_a_person_needs():
    error = errors.PolicyDenied("no", rule="deny.tools@7", retry_after=2, details={"at": "/x"}, audit_id="sc-1")
    assert str(error) == (
        "E_POLICY: no; rule: deny.tools@7; details: {'at': '/x'}; the policy of this tenant must allow it first; "
        "try again in 2 s; audit: sc-1"
    )


@pytest.mark.parametrize("twin", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_travels_between_processes_whole(twin):
    error = errors.Busy("full", rule="r", retry_after=1.5, details={"a": 1}, audit_id="sc-1")
    again = twin(error)
    assert (type(again), str(again), vars(again)) == (errors.Busy, str(error), vars(error))


def test_what_errors_exports_is_the_tree():
    assert set(errors.__all__) == set(built(errors.SyscallError))
    assert aion_sdk.SyscallError is errors.SyscallError
