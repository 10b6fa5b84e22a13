"""An Agent's Pod: the shape, the confinement, and what never reaches the agent's own container."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion.controller import render_agent
from aion.controller.recipes import AgentRecipe
from aion.controller.settings import Settings
from aion.controller.views import Key
from aion.gateway import listeners
from aion.gateway.__main__ import CUT_S, DRAIN_S

PROFILE = "ab" * 32
SETTINGS = Settings()
RECIPE = AgentRecipe(
    key=Key("Agent", "team", "researcher"),
    uid="u1",
    version="1.0.0",
    argv=("python", "-m", "x"),
    queue="normal",
    profile=PROFILE,
    cpu="500m",
    memory="256Mi",
)


def render(**changes):
    return render_agent.pod(dataclasses.replace(RECIPE, **changes), settings=SETTINGS)


def containers(pod):
    return {c["name"]: c for c in pod["spec"]["containers"]}


def env_of(container):
    return {e["name"]: e.get("value") for e in container["env"]}


def test_the_gateway_comes_first_and_nothing_comes_before_it():
    pod = render()
    assert [c["name"] for c in pod["spec"]["containers"]] == ["gateway", "agent"]
    assert "initContainers" not in pod["spec"]
    gateway = containers(pod)["gateway"]
    assert gateway["lifecycle"]["postStart"]["exec"]["command"] == ["/usr/bin/aion-launch", "--installed", "/aion"]
    assert gateway["command"][-3:] == ["python3", "-m", "aion.gateway"]


def test_the_gateway_is_handed_its_five_sockets_by_the_names_that_it_knows():
    command = containers(render())["gateway"]["command"]
    given = dict(each.split("=", 1) for each in command if "=" in each)
    assert set(given) == listeners.NAMES
    assert (given[listeners.EGRESS], given[listeners.PROXY]) == ("/run/aion/egress.sock", "127.0.0.1:3128")


def test_the_agent_is_launched_by_its_parsed_entry_and_never_by_a_shell():
    agent = containers(render(argv=("python", "-c", "print('; rm -rf /')")))["agent"]
    assert agent["command"] == [
        "/aion/aion-launch",
        "--await",
        "/run/aion/gw.sock",
        "--",
        "python",
        "-c",
        "print('; rm -rf /')",
    ]
    assert "args" not in agent


@pytest.mark.parametrize(("timeout_ms", "parks"), [(1, 5), (12_001, 13), (120_000, 30), (86_400_000, 30)])
def test_the_kubelets_grace_is_longer_than_the_gateways_and_that_than_parking(timeout_ms, parks):
    pod = render(timeout_ms=timeout_ms)
    gateway, agent = env_of(containers(pod)["gateway"]), containers(pod)["agent"]
    park, grace, kubelets = (
        int(gateway["AION_PARK_S"]),
        int(gateway["AION_GRACE_S"]),
        pod["spec"]["terminationGracePeriodSeconds"],
    )
    assert park == parks
    assert kubelets - grace >= DRAIN_S + CUT_S, "time to send what is left of the audit"
    assert grace - park == 20, "time for the agent to end by itself"
    assert agent["lifecycle"] == {"preStop": {"httpGet": {"path": "/v1/park", "port": 8011}}}
    assert "preStop" not in containers(pod)["gateway"]["lifecycle"], (
        "the gateway hears SIGTERM at once: by that it knows"
    )


def test_keys_token_and_journal_are_mounted_into_the_gateway_alone():
    found = containers(render(config_map="src"))
    assert {m["name"] for m in found["agent"]["volumeMounts"]} == {"aion", "run", "app"}
    assert all(m["readOnly"] for m in found["agent"]["volumeMounts"])
    assert {"keys", "token", "journal"} <= {m["name"] for m in found["gateway"]["volumeMounts"]}


@pytest.mark.parametrize("name", ["gateway", "agent"])
def test_each_container_is_restricted(name):
    security = containers(render())[name]["securityContext"]
    assert security["runAsNonRoot"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_the_agent_runs_under_the_sealed_profile_and_waits_for_a_node_that_holds_it():
    pod = render()
    assert containers(pod)["agent"]["securityContext"]["seccompProfile"]["localhostProfile"] == f"aion/{PROFILE}.json"
    assert containers(pod)["gateway"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    required = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    holds = {"key": f"seccomp.aion.os/{PROFILE[:16]}", "operator": "In", "values": ["ready"]}
    assert required["nodeSelectorTerms"] == [{"matchExpressions": [holds]}]


def test_every_alternative_of_the_users_affinity_demands_the_profile_too():
    zone = {"key": "zone", "operator": "In", "values": ["a"]}
    given = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [zone]}, {"matchFields": []}]
            }
        }
    }
    pod = render(affinity=given)
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert len(terms) == 2
    assert all(t["matchExpressions"][-1]["key"].startswith("seccomp.aion.os/") for t in terms)
    assert terms[0]["matchExpressions"][0] == zone


def test_the_users_labels_and_variables_cannot_replace_ours():
    pod = render(
        labels={"app.kubernetes.io/managed-by": "me", "aion.os/agent": "other", "team": "x"},
        env=({"name": "AION_AGENT_ID", "value": "agent://other/other"}, {"name": "MODE", "value": "fast"}),
    )
    labels = pod["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "aion-os"
    assert (labels["aion.os/agent"], labels["team"]) == ("researcher", "x")
    env = env_of(containers(pod)["agent"])
    assert env["AION_AGENT_ID"] == "agent://team/researcher"
    assert env["MODE"] == "fast"


def test_the_tunnel_is_preloaded_unless_the_agent_does_without():
    env = env_of(containers(render())["agent"])
    assert env["LD_PRELOAD"] == "/aion/libaion-net.so"
    assert env["AION_EGRESS_SOCKET"] == "/run/aion/egress.sock"
    without = env_of(containers(render(tunnel=False))["agent"])
    assert not {"LD_PRELOAD", "AION_EGRESS_SOCKET"} & set(without)
    assert "LD_PRELOAD" not in env_of(containers(render())["gateway"])


def test_the_queue_names_the_priority_class():
    assert render(queue="high")["spec"]["priorityClassName"] == "aion-high"


def test_a_gpu_is_asked_for_only_by_a_count():
    assert "nvidia.com/gpu" not in containers(render())["agent"]["resources"]["limits"]
    assert env_of(containers(render())["agent"])["NVIDIA_VISIBLE_DEVICES"] == "void"
    agent = containers(render(gpus=2))["agent"]
    assert agent["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert "NVIDIA_VISIBLE_DEVICES" not in env_of(agent)


def test_the_same_recipe_has_the_same_name_and_another_has_another():
    assert render() == render()
    assert render()["metadata"]["name"].startswith("researcher-")
    assert render(memory="512Mi")["metadata"]["name"] != render()["metadata"]["name"]


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=30)), st.lists(st.text(), min_size=1).map(tuple))
def test_no_label_or_entry_widens_what_a_container_may(labels, argv):
    pod = render(labels=labels, argv=argv)
    for container in pod["spec"]["containers"]:
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert '"privileged": true' not in json.dumps(pod["spec"]["securityContext"])
    assert "hostNetwork" not in pod["spec"]


def test_the_account_has_no_token_of_its_own():
    account = render_agent.service_account(RECIPE)
    assert account["metadata"]["name"] == "agent-researcher"
    assert account["automountServiceAccountToken"] is False
    assert account["metadata"]["ownerReferences"][0]["uid"] == "u1"


def test_keys_of_models_are_mounted_into_the_gateway_of_an_agent_that_asks_models_and_nowhere_else():
    plain, asking = render()["spec"], render(models=True)["spec"]
    assert not any(volume["name"] == "model-keys" for volume in plain["volumes"])
    assert {"name": "model-keys", "secret": {"secretName": "aion-model-keys", "optional": True}} in asking["volumes"]
    gateway, agent = asking["containers"]
    mount = {"name": "model-keys", "mountPath": "/var/run/aion/model-keys", "readOnly": True}
    assert mount in gateway["volumeMounts"]
    assert not any(each["name"] == "model-keys" for each in agent["volumeMounts"])
