"""A real API server and the models are of one mind about every sample, every mistake, and specs nobody thought of.

What they may differ on, and why:

- `tool-schema-twice`: CEL's cost estimate has no budget for comparing every name of a short form with every other.
- A whole number written as 5.0: YAML readers of Go hand it on as 5, so the API server never sees the point.
"""

import json

import pytest
import sample_files as samples
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.apiserver

ONLY_MODELS_REFUSE = {"tool-schema-twice"}
DRY_RUN = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--field-manager=test-samples")


@pytest.fixture(scope="module")
def kinds(apiserver):
    """The server with our CRDs, and the namespaces that the samples name."""
    apiserver.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(samples.ROOT / "crds"))
    apiserver.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    named = [d["metadata"].get("namespace") for path in samples.GOOD for d in samples.documents(path)]
    for namespace in {each for each in named if each}:
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        apiserver.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(document))
    return apiserver


def test_every_sample_is_taken_by_the_api_server(kinds):
    kinds.kubectl(*DRY_RUN, *(f"--filename={path}" for path in samples.GOOD))


def test_every_invalid_sample_is_refused_by_the_api_server_too(kinds):
    done = kinds.kubectl(*DRY_RUN, *(f"--filename={path}" for path in samples.INVALID), check=False)
    taken = {line.split()[0].rpartition("/")[2] for line in done.stdout.splitlines()}
    assert taken == ONLY_MODELS_REFUSE
    names = {document["metadata"]["name"] for path in samples.INVALID for document in samples.ours(path)}
    assert len(names) == len(samples.INVALID)
    reasons = [line for line in done.stderr.splitlines() if "is invalid" in line or "typed patch object" in line]
    assert {name for name in names if not any(name in line for line in reasons)} == ONLY_MODELS_REFUSE


def test_kubectl_explains_a_field_in_a_sentence(kinds):
    said = kinds.kubectl("explain", "agent.spec.capabilities.network").stdout
    assert "The gateway may fetch for the agent" in " ".join(said.split())


def test_kubectl_shows_the_columns_of_the_contract(kinds):
    kinds.kubectl(
        "apply", "--server-side", "--field-manager=test-samples", "-f", str(samples.SAMPLES / "word-count.yaml")
    )
    try:
        head, row = kinds.kubectl("get", "aion").stdout.strip().splitlines()
        assert head.split() == ["NAME", "READY", "REASON", "TOOL-NAME", "VERSION", "AGE"]
        assert row.split()[:3] == ["tool.aion.os/word-count", "word_count", "1.0.0"]
    finally:
        kinds.kubectl("delete", "tool", "word-count")


# -- specs nobody thought of: a good one with a value or two out of these pools

WORD = st.text("ab0-._/ é'\"\\", max_size=6)
NAMES = st.sampled_from(["web-search", "a", "a_b", "", "-a", "a" * 63, "a" * 64, "é", "A"])
NUMBER = st.sampled_from([-1, 0, 1, 5, 9, 10, 64, 65, 100, 101, 2**31, 2**63, 0.5]) | st.integers(-(10**6), 10**9)
ODD = st.sampled_from([None, True, "x", 3, 0.5, [], {}, [None], {"a": None}])
QUANTITY = st.sampled_from(
    [0, 1, -1, "1", "0.5", "1.", ".5", "250m", "1Gi", "1GB", "1e3", "", "1 ", 10**15, "9" * 13, 0.5]
)
SEMVER = st.sampled_from(
    ["1.0.0", "0.0.0", "1.0", "01.0.0", "1.0.0-01", "1.0.0-a.b-c+d.01", "1.0.0-", "v1.0.0", "1.0.0\n", ""]
)
LABELS = st.dictionaries(
    st.sampled_from(["a", "a b", "", "x/y", "X.y/z", "aion.os/x", "a" * 64, "a" * 63]), WORD, max_size=2
)
ENTRY = st.text("ab '\"\\\n", max_size=8)
TOOL_ENTRY = st.builds(str.__add__, st.sampled_from(["wasm:", "rust:bin/", "python:", "mcp:", "mcp+https://", "x:", ""]), st.sampled_from(["a.wasm", "../a.wasm", "a", "a.b:c", "a:b:c", "h:80/x", "a 'b", "a.wasm\n", ""]))  # fmt: skip
SYSCALL = st.lists(st.sampled_from(["*", "memory.*", "memory.put", "memory.p*", "tool.invoke", "x.y", ""]), max_size=3)
DOLLARS = st.sampled_from(["0.10", "1", "", "-1", "1.0000001", "1e3", "9" * 10, ".5", 1, 0.5, "0.1\n"])
SHORT = st.sampled_from(
    ["a:int", "a:int,b:str?", "a:list[int]", "a", "a:text", "a:int,", " a : int ", "a:int\n", "a:dict[int]", ""]
)
TOLERATION = st.fixed_dictionaries(
    {}, optional={"key": st.sampled_from(["a", "", "a b", "x/y"]), "operator": st.sampled_from(["Exists", "Equal", "In"]),
                  "value": st.sampled_from(["", "x", "a b"]), "effect": st.sampled_from(["NoSchedule", "NoExecute", "x"]),
                  "tolerationSeconds": st.sampled_from([-1, 0, 5, 2**40])})  # fmt: skip
ENV = st.fixed_dictionaries(
    {"name": st.sampled_from(["A", "B", "AION_X", "LD_X", "1A", "a-b", ""])}, optional={"value": WORD, "valueFrom": ODD}
)
AGENT = {
    "version": SEMVER,
    "entry": ENTRY,
    "image": WORD,
    "priority": NUMBER,
    "timeoutMs": NUMBER,
    "operatingMode": st.sampled_from(["Running", "Suspended", "running", ""]),
    "source": st.fixed_dictionaries({}, optional={"configMap": NAMES, "secret": NAMES}),
    "memory": st.fixed_dictionaries({}, optional={"shortTtlSeconds": NUMBER, "scope": st.sampled_from(["own", "all"])}),
    "capabilities": st.fixed_dictionaries({}, optional={"gpu": st.booleans(), "network": ODD, "syscalls": SYSCALL}),
    "resources": st.fixed_dictionaries(
        {}, optional={"cpu": QUANTITY, "mem": QUANTITY, "gpu": st.sampled_from(["none", "optional", "required", "two", 0, 1, 64, 65, -1])}
    ),
    "tools": st.lists(NAMES, max_size=3),
    "sandboxProfile": NAMES,
    "policyOverrides": st.fixed_dictionaries(
        {}, optional={"budget": st.fixed_dictionaries({}, optional={"usdMax": DOLLARS}), "sla": st.fixed_dictionaries({"p95Ms": NUMBER})}
    ),
    "podTemplate": st.fixed_dictionaries(
        {}, optional={"labels": LABELS, "annotations": LABELS, "nodeSelector": LABELS, "env": st.lists(ENV, max_size=2),
                      "tolerations": st.lists(TOLERATION, max_size=2), "affinity": ODD, "hostNetwork": st.just(True)}
    ),
}  # fmt: skip
TOOL = {
    "toolName": st.sampled_from(["web_search", "a-b", "1a", "", "a.b", "a" * 64, "a" * 65]),
    "version": SEMVER,
    "entry": TOOL_ENTRY,
    "image": WORD,
    "replicas": NUMBER,
    "timeoutMs": NUMBER,
    "idempotent": ODD,
    "capabilitiesRequired": st.lists(st.sampled_from(["network", "gpu", "internet", ""]), max_size=3),
    "io": st.fixed_dictionaries(
        {}, optional={"input": st.fixed_dictionaries({}, optional={"schema": SHORT, "jsonSchema": ODD}), "output": ODD}
    ),
    "config": st.dictionaries(WORD, WORD | NUMBER, max_size=2),
    "security": st.fixed_dictionaries({}, optional={"seccompProfile": NAMES, "cgroup": NAMES}),
    "signatures": st.fixed_dictionaries({}, optional={"cosign": WORD}),
}
BASE = {"Agent": {"version": "1.0.0", "entry": "x"}, "Tool": {"version": "1.0.0", "entry": "rust:bin/x"}}


@st.composite
def documents(draw):
    kind, pools = draw(st.sampled_from([("Agent", AGENT), ("Tool", TOOL)]))
    spec = dict(BASE[kind])
    for field in draw(st.lists(st.sampled_from(sorted(pools)), min_size=1, max_size=2, unique=True)):
        spec[field] = draw(st.one_of(pools[field], pools[field], ODD))
    return {"apiVersion": "aion.os/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


def taken(server, batch):
    """The numbers of the documents that the server takes, out of one call of kubectl."""
    items = [{**document, "metadata": {"name": f"random-{n}"}} for n, document in enumerate(batch)]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    # kubectl's own validation would end the whole batch at its first mistake; the server's is what is asked here.
    done = server.kubectl(*DRY_RUN, "--validate=ignore", "-f", "-", stdin=text, check=False)
    lines = [line.split(" ")[0] for line in done.stdout.splitlines() if "serverside-applied" in line]
    return {int(line.rpartition("-")[2]) for line in lines}, done.stderr


@settings(
    max_examples=4, deadline=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.large_base_example],
)  # fmt: skip
@given(batch=st.lists(documents(), min_size=40, max_size=40))
def test_models_and_api_server_agree_on_random_specs(kinds, batch):
    server_takes, said = taken(kinds, batch)
    we_take = {n for n, document in enumerate(batch) if samples.problems(document) == ""}
    differ = [
        f"{json.dumps(batch[n])}\n  the models: {samples.problems(batch[n]) or 'take it'}\n"
        f"  the API server: {'takes it' if n in server_takes else said.partition(f'random-{n}')[2][:300]}"
        for n in sorted(server_takes ^ we_take)
    ]
    assert differ == [], "\n".join(differ)
    assert we_take, "a batch of mistakes alone proves nothing"
