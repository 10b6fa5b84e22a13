"""What a decision is called, and what of a call is kept."""

import pytest

from aion.api import errors
from aion.syscalls import records
from aion.syscalls.testing import KeptSpans
from aion.telemetry import spans

DENIED = {"E_SIGNATURE", "E_REPLAY", "E_CLOCK", "E_CAPABILITY", "E_POLICY", "E_TENANT", "E_BUDGET", "E_QUOTA", "E_BUSY"}


@pytest.mark.parametrize("code", sorted(errors.BY_CODE))
def test_a_rules_no_is_a_denial_and_everything_else_that_went_wrong_an_error(code: str):
    assert records.decision(errors.BY_CODE[code]("because")) == ("deny" if code in DENIED else "error")


def test_what_went_well_is_allowed():
    assert records.decision(None) == "allow"


def test_the_fake_tracer_is_what_the_router_asks_for():
    tracer: spans.Spans = KeptSpans()
    tracer.record(spans.Span("kernel.syscall", 1, 2, {}))
    tracer.close()
    assert tracer.live
