"""Log lines: JSON, the contract's keys in their order, whoever wrote them, and never the reason why anything breaks."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from aion.telemetry import logs

Lines = Callable[[], list[dict]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Configure as a process does, and read what it wrote; everything is as before after the test."""
    root, out = logging.getLogger(), io.StringIO()
    handlers, level = list(root.handlers), root.level
    logs.configure(level="info", stream=out, tenant="tenant-a", agent="researcher", nothing="")

    def read() -> list[dict]:
        text = out.getvalue()
        out.seek(0)
        out.truncate()
        return [json.loads(line) for line in text.removesuffix("\n").split("\n") if line]  # as collectors do

    yield read
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_line_holds_the_contracts_keys_first_and_in_their_order(lines: Lines):
    everything = {key: key for key in reversed(logs.KEYS) if key not in {"ts", "level", "event"}}
    logs.get("gateway").warning("it happened", zeta=1, **everything)
    (line,) = lines()
    assert list(line) == [*logs.KEYS, "zeta", "part"] or list(line) == [*logs.KEYS, "part", "zeta"]
    assert (line["level"], line["event"], line["part"]) == ("warning", "it happened", "gateway")
    assert datetime.fromisoformat(line["ts"]).tzinfo is not None


def test_what_is_constant_stands_in_every_line_and_gives_way_to_what_is_said(lines: Lines):
    logs.get("a").info("one")
    logs.get("a").info("two", tenant="tenant-b")
    one, two = lines()
    assert (one["tenant"], one["agent"], two["tenant"]) == ("tenant-a", "researcher", "tenant-b")
    assert "nothing" not in one


def test_the_standard_librarys_loggers_write_the_same_lines(lines: Lines):
    logging.getLogger("uvicorn.error").warning("hello %s", "there", extra={"syscall": "tool.invoke"})
    (line,) = lines()
    assert list(line) == ["ts", "level", "event", "tenant", "agent", "syscall"]
    assert (line["level"], line["event"], line["syscall"]) == ("warning", "hello there", "tool.invoke")


@pytest.mark.parametrize("logger", [logs.get("a"), logging.getLogger("a")])
def test_an_exception_is_one_line_with_its_traceback(lines: Lines, logger):
    try:
        {}["gone"]
    except KeyError:
        logger.exception("it broke")
    (line,) = lines()
    assert (line["level"], line["event"]) == ("error", "it broke")
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("KeyError: 'gone'")


def test_what_is_below_the_level_is_not_written(lines: Lines):
    logs.get("a").debug("quiet")
    logging.getLogger("a").debug("quiet")
    assert lines() == []


def test_an_unknown_level_is_refused_with_the_levels_there_are():
    with pytest.raises(ValueError, match="got log level 'loud', expected one of debug, info, warning, error"):
        logs.configure(level="loud")


CIRCLE: list = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    "odd",
    [{("a", 1): 2}, "half \udcff", CIRCLE, object(), b"\xff", 10**40, float("nan"), {"deep": {1, 2}}, [[["\ud800"]]]],
)
def test_a_value_that_json_has_not_is_written_as_it_can_be(lines: Lines, odd: object):
    logs.get("a").info("odd", value=odd, audit_id="sc-1")
    (line,) = lines()
    assert (line["event"], line["audit_id"]) == ("odd", "sc-1")
    assert "value" in line


WORD = some.text(some.characters(), max_size=20)  # surrogates included


@given(
    event=WORD,
    fields=some.dictionaries(some.from_regex(r"[a-z]{1,8}", fullmatch=True), WORD | some.floats(), max_size=3),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_is_said_is_one_line_of_json(lines: Lines, event: str, fields: dict):
    logs.get("a").info(event, **{f"x_{key}": value for key, value in fields.items()})
    assert len(lines()) == 1
