"""Names that objects wear."""

from hypothesis import given
from hypothesis import strategies as st

from aion.api import labels
from aion.api.agent import Agent

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?", fullmatch=True)


@given(NAMES)
def test_a_service_account_tells_its_agent(name):
    assert labels.agent_of_service_account(labels.service_account(name)) == name


def test_another_service_account_tells_no_agent():
    assert labels.agent_of_service_account("default") is None
    assert labels.agent_of_service_account("agent-") is None


@given(NAMES)
def test_every_label_has_a_value_that_kubernetes_takes(name):
    for worn in (labels.of_agent(name), labels.of_tool(name)):
        Agent.from_file(
            {
                "apiVersion": "aion.os/v1",
                "kind": "Agent",
                "metadata": {"name": "x", "labels": worn},
                "spec": {"version": "1.0.0", "entry": "x"},
            }
        )


def test_the_longest_names_leave_room_for_what_is_added():
    assert labels.MAX_AGENT_NAME + len("-0123456789") == 63
    assert len(labels.tool_object("x" * labels.MAX_TOOL_NAME)) == 63
    assert len(labels.service_account("x" * labels.MAX_AGENT_NAME)) <= 63


def test_a_tools_address_is_its_services():
    assert labels.tool_endpoint("web-search", "tenant-a") == "http://tool-web-search.tenant-a.svc:8020"
