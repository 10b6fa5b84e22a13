"""The arithmetic of the benchmarks: a wrong percentile would be believed."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "e2e/bench"))

from measuring import report, statistics
from measuring.report import Target

TIMES = some.lists(some.floats(min_value=0.001, max_value=1e6), min_size=1, max_size=60)


@given(TIMES, some.floats(min_value=0, max_value=1))
def test_a_percentile_is_the_smallest_seen_value_that_so_many_do_not_exceed(values: list[float], share: float) -> None:
    found = statistics.percentile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) <= share * len(values)


def test_the_99th_percentile_of_a_hundred_values_is_not_the_largest() -> None:
    assert statistics.percentile(list(range(1, 101)), 0.99) == 99
    assert statistics.percentile([7.0], 0.99) == 7


@given(TIMES)
def test_what_is_compared_with_itself_shows_no_difference(values: list[float]) -> None:
    same = statistics.paired(values, values)

    assert same == (1, 1, 1)
    assert "no difference is shown" in same.sentence("this", "that")


def test_a_pair_is_of_one_round_and_not_of_the_medians() -> None:
    theirs = [100.0, 200.0, 400.0, 800.0]
    twice = statistics.paired([2 * value for value in theirs], theirs)

    assert twice == (2, 2, 2)
    assert "2.00 times as long" in twice.sentence("this", "that")


def test_the_last_line_is_one_json_object_that_lists_what_was_missed(capsys: pytest.CaptureFixture[str]) -> None:
    targets = (
        Target("quick_ms", at_most=1),
        Target("many_per_s", at_least=10),
        Target("small_mib", at_most=5),
        Target("never_had", at_most=1),
    )
    figures = {"quick_ms": 1.5, "many_per_s": 9.0, "small_mib": 5.0}

    report.finish("a_bench", figures=figures, peers={}, targets=targets, notes=["a note"])

    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["missed"] == ["quick_ms", "many_per_s", "never_had"]
    assert said["targets"]["quick_ms"] == {"at_most": 1}
    assert said["targets"]["many_per_s"] == {"at_least": 10}
    assert (said["bench"], said["figures"], said["notes"]) == ("a_bench", figures, ["a note"])


def test_a_table_keeps_its_columns_apart() -> None:
    lines = report.table(["", "p50"], [["ours", "1.5"], ["a longer name", "10.25"]]).splitlines()

    assert [line.rstrip() for line in lines] == [
        "                 p50",
        "-------------  -----",
        "ours             1.5",
        "a longer name  10.25",
    ]
