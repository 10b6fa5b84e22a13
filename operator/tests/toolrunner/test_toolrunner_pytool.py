"""The Python shim answers one document whatever the tool's function does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aion.toolrunner import pytool

TOOL = """
def fine(a, b=2):
    print("noise")
    return {"sum": a + b}

def whole(params, config):
    return {"params": params, "config": config}

def picky(day):
    raise ValueError("day: expected a day")

def broken():
    raise KeyError("gone")

def odd():
    return {"x": object()}
"""


@pytest.mark.parametrize(
    ("function", "params", "expected", "status"),
    [
        ("fine", {"a": 1}, {"result": {"sum": 3}}, 0),
        ("whole", {"a": 1}, {"result": {"params": {"a": 1}, "config": {"u": "v"}}}, 0),
        ("fine", {"c": 1}, "E_PARAMS", 1),
        ("picky", {"day": 1}, "E_PARAMS", 1),
        ("broken", {}, "E_UPSTREAM", 1),
        ("odd", {}, "E_UPSTREAM", 1),
        ("absent", {}, "E_UPSTREAM", 1),
    ],
)
def test_a_function_answers_one_document_and_its_prints_stay_out_of_it(tmp_path, function, params, expected, status):
    (tmp_path / "t.py").write_text(TOOL)
    ran = subprocess.run(
        [sys.executable, str(Path(pytool.__file__)), "t", function],
        input=json.dumps({"params": params, "config": {"u": "v"}}),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    answer = json.loads(ran.stdout)
    assert ran.returncode == status
    assert (answer if status == 0 else answer["error"]["code"]) == expected
