"""Which tools an agent sees, and that these are the ones it can call."""

import json
from typing import Any

import msgspec
import pytest
from dialects_stage import ME, Stage
from hypothesis import given
from hypothesis import strategies as st

from aion.api import errors, grant, syscall
from aion.dialects import mcp_tools
from aion.syscalls import rights, testing

CAPABILITIES = st.sets(st.sampled_from(grant.CAPABILITIES)).map(sorted)


def names(granted: grant.Grant) -> list[str]:
    return [tool["name"] for tool in mcp_tools.listed(rights.of(granted))]


def done(result: bytes) -> dict[str, Any]:
    answer = syscall.Ok(msgspec.Raw(result), syscall.wire_usage(syscall.Usage()), syscall.Engine("", ""), "sc-1")
    read: dict[str, Any] = json.loads(msgspec.json.encode(mcp_tools.result(answer)))
    return read


@given(CAPABILITIES, CAPABILITIES, st.sets(st.sampled_from(["tool.invoke", "net.fetch"])).map(sorted))
async def test_a_tool_is_listed_exactly_where_its_call_is_not_denied(held: list[str], needs: list[str], may: list[str]):
    granted = testing.granted(capabilities=held, syscalls=may, tools=[testing.a_tool(needs=needs)])
    stage = Stage(granted)
    for name, arguments in (("echo", {}), ("aion_net_fetch", {"url": msgspec.Raw(b'"nonsense"')})):
        asked = mcp_tools.asked(name, arguments)
        reply = await stage.router.handle(asked.syscall, testing.request(asked.syscall, json.loads(asked.params)), ME)
        assert (name in names(granted)) == (reply.status != 403)


def test_what_is_listed_is_in_order_and_has_schemas_of_objects():
    tools = [
        testing.a_tool("zoo", schema={"anyOf": [{"required": ["a"]}]}),
        testing.a_tool("ant", schema={"type": ["object", "null"]}),
    ]
    listed = mcp_tools.listed(rights.of(testing.granted(tools=tools)))
    assert [tool["name"] for tool in listed] == ["aion_net_fetch", "ant", "zoo"]
    assert listed[2]["inputSchema"] == {"anyOf": [{"required": ["a"]}], "type": "object"}
    assert {tool["inputSchema"]["type"] for tool in listed} == {"object"}


def test_a_tool_has_the_description_and_the_output_that_its_author_gave():
    tool = msgspec.structs.replace(
        testing.a_tool(), description="Says it again.", output_schema={"properties": {"said": {}}}
    )
    (listed,) = mcp_tools.listed(rights.of(testing.granted(syscalls=["tool.invoke"], tools=[tool])))
    assert listed["description"] == "Says it again."
    assert listed["outputSchema"] == {"properties": {"said": {}}, "type": "object"}


def test_no_client_is_made_to_copy_an_argument_into_a_header():
    schema: dict[str, object] = {
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "x-mcp-header": {"type": "string"},
            "within": {"properties": {"deep": {"x-mcp-header": "Deep"}}},
        },
        "allOf": [{"properties": {"other": {"x-mcp-header": "Other"}}}],
    }
    (listed,) = mcp_tools.listed(
        rights.of(testing.granted(syscalls=["tool.invoke"], tools=[testing.a_tool(schema=schema)]))
    )
    assert listed["inputSchema"] == {
        "properties": {
            "region": {"type": "string"},
            "x-mcp-header": {"type": "string"},
            "within": {"properties": {"deep": {}}},
        },
        "allOf": [{"properties": {"other": {}}}],
        "type": "object",
    }


def test_a_tool_by_the_name_of_a_syscall_takes_its_place_from_nobody():
    granted = testing.granted(syscalls=["tool.invoke"], tools=[testing.a_tool("aion_net_fetch")])
    assert names(granted) == []
    assert mcp_tools.asked("aion_net_fetch", {}).syscall == "net.fetch"


def test_an_argument_that_would_name_another_tool_is_refused():
    with pytest.raises(errors.BadParams):
        mcp_tools.asked("echo", {"tool": msgspec.Raw(b'"delete_everything"')})


def test_the_syscalls_that_are_offered_are_syscalls_and_say_what_they_need():
    for name, offer in mcp_tools.OFFERS.items():
        assert offer.syscall in syscall.NAMES
        assert name == mcp_tools.PREFIX + offer.syscall.replace(".", "_")


def test_a_plain_result_is_structured_and_stands_there_as_text_too():
    made = done(b'{"items": [1, 2]}')
    assert made["structuredContent"] == {"items": [1, 2]}
    assert made["content"] == [{"type": "text", "text": '{"items": [1, 2]}'}]
    assert made["isError"] is False


def test_a_result_that_is_content_already_goes_out_as_it_is():
    picture = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
    made = done(json.dumps({"content": [picture, {"type": "text", "text": "hi"}]}).encode())
    assert made["content"][0] == picture
    assert "structuredContent" not in made
    assert done(b'{"content":[],"structuredContent":{"a":1}}')["structuredContent"] == {"a": 1}


@pytest.mark.parametrize(
    "result",
    [
        b'{"content": "page"}',
        b'{"content": [{"type": "image"}]}',
        b'{"content": [], "pages": 3}',
        b'{"content": [{"type": "video"}]}',
    ],
)
def test_a_result_that_only_looks_like_content_is_structured(result: bytes):
    assert done(result)["structuredContent"] == json.loads(result)


def test_a_schema_that_is_nested_beyond_reading_keeps_no_other_tool_from_being_listed():
    deep: dict[str, object] = {}
    for _ in range(2000):
        deep = {"properties": {"a": deep}}
    tools = [testing.a_tool("deep", schema=deep), testing.a_tool("flat")]
    listed = mcp_tools.listed(rights.of(testing.granted(syscalls=["tool.invoke"], tools=tools)))
    assert [tool["name"] for tool in listed] == ["deep", "flat"]
    assert listed[0]["inputSchema"] == {"type": "object"}
