"""The error tree, against the table of the contract."""

import pytest

from aion.api import errors

# The contract's table: HTTP status -> codes.
CONTRACT = {
    400: {"E_BAD_REQUEST"},
    401: {"E_SIGNATURE", "E_REPLAY", "E_CLOCK"},
    402: {"E_BUDGET"},
    403: {"E_CAPABILITY", "E_POLICY", "E_TENANT"},
    404: {"E_NO_SYSCALL", "E_NO_TOOL"},
    409: {"E_PREEMPT", "E_FENCED", "E_VERSION", "E_UNKNOWN_OUTCOME"},
    413: {"E_TOO_LARGE"},
    422: {"E_PARAMS"},
    429: {"E_QUOTA", "E_BUSY"},
    502: {"E_UPSTREAM"},
    503: {"E_UNAVAILABLE"},
    504: {"E_TIMEOUT"},
}
CODES = sorted(errors.BY_CODE)


def test_the_tree_is_the_contracts_table():
    found = {}
    for code, kind in errors.BY_CODE.items():
        found.setdefault(kind.http_status, set()).add(code)
    assert found == CONTRACT


def test_the_drawing_names_every_class_with_its_code():
    drawn = errors.__doc__ or ""
    for code, kind in errors.BY_CODE.items():
        line = next(line for line in drawn.splitlines() if f" {kind.__name__} " in line)
        assert code in line


@pytest.mark.parametrize("code", CODES)
def test_an_error_keeps_what_it_was_given(code):
    error = errors.of(code)("said", rule="capabilities@rev3", retry_after_ms=70, details={"at": "/query"})
    assert (error.code, error.message, error.rule, error.retry_after_ms) == (code, "said", "capabilities@rev3", 70)
    assert error.details == {"at": "/query"}
    assert str(error) == f"{code}: said (rule: capabilities@rev3)"


@pytest.mark.parametrize("code", ["E_QUOTA", "E_BUSY"])
def test_what_is_throttled_always_says_when_to_come_back(code):
    assert errors.of(code)("said").retry_after_ms == errors.DEFAULT_RETRY_MS
    assert errors.of(code)("said", retry_after_ms=None).retry_after_ms == errors.DEFAULT_RETRY_MS


def test_only_what_left_nothing_behind_may_be_sent_again_blindly():
    assert {code for code in CODES if errors.of(code).retryable} == {"E_QUOTA", "E_BUSY", "E_UNAVAILABLE"}


def test_a_code_from_the_future_is_a_failed_upstream():
    assert errors.of("E_TEAPOT") is errors.UpstreamFailed
