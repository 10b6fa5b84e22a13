"""One text, one reading."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion.api import errors, strictjson, syscall

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(VALUES)
def test_what_a_writer_made_of_one_value_passes(value):
    strictjson.verify(json.dumps(value).encode())
    strictjson.verify(b" \n" + json.dumps(value, indent=1).encode())


@given(VALUES, st.dictionaries(st.text(), VALUES, min_size=1, max_size=3), st.integers(0, 3))
def test_a_name_that_stands_twice_anywhere_is_refused(beside, members, depth):
    name = next(iter(members))
    listed = [*members.items(), (name, beside)]
    text = "{" + ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in listed) + "}"
    for _ in range(depth):
        text = f'[{{"in":{text}}}]'
    with pytest.raises(errors.BadRequest, match="twice"):
        strictjson.verify(text.encode())


def test_the_same_name_written_in_two_ways_is_the_same_name():
    with pytest.raises(errors.BadRequest, match="twice"):
        strictjson.verify(rb'{"tool":1,"t\u006fol":2}')


@pytest.mark.parametrize("text", [b"", b"{", b"nothing", b'{"a":}', b"[1,"])
def test_what_is_no_json_is_left_to_its_reader(text):
    strictjson.verify(text)


def test_depth_and_digits_without_end_are_no_trouble():
    with pytest.raises(errors.BadRequest, match="deep"):
        strictjson.verify(b"[" * 100_000)
    strictjson.verify(b"[" + b"9" * 1_000_000 + b"]")


def test_a_name_that_stands_twice_at_the_end_of_very_many_is_found_in_one_pass():
    names = [f"{at:x}" for at in range(200_000)]
    text = "{" + ",".join(f'"{name}":0' for name in [*names, names[-1]]) + "}"
    with pytest.raises(errors.BadRequest, match=f"'{names[-1]}' twice"):
        strictjson.verify(text.encode())  # looked for anew for each name, this is hours of a kernel's one thread


@pytest.mark.parametrize(
    "body",
    [
        b'{"agent_id":"agent://t/a","agent_id":"agent://t/b","params":{}}',
        b'{"params":{"tool":"safe","tool":"other"}}',
        b'{"params":{},"params":{"tool":"other"}}',
        b'{"params":{"list":[{"a":1,"a":2}]}}',
        b'{"params":{"tool\x84":1}}',
    ],
)
def test_a_syscall_that_two_readers_would_read_differently_is_refused(body):
    with pytest.raises(errors.BadRequest, match=r"twice|not UTF-8"):
        syscall.decode(body, name="tool.invoke")
