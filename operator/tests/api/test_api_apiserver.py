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
DRY_RUN = (
    "apply",
    "--server-side",
    "--dry-run=server",
    "--force-conflicts",
    "--validate=strict",
    "--field-manager=test-samples",
)


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


def test_every_pages_example_is_taken_by_the_api_server(kinds):
    found = [each for name in samples.KINDS for each in samples.examples(samples.ROOT / f"crds/{name.lower()}.md")]
    kinds.kubectl(*DRY_RUN, "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": found}))


# -- what kubectl says: explain, and the columns


def published(server):
    """The schema of each kind as the API server publishes it, which is what `kubectl explain` reads."""
    text = server.kubectl("get", "--raw", "/openapi/v3/apis/aion.os/v1").stdout
    return {name.rpartition(".")[2]: schema for name, schema in json.loads(text)["components"]["schemas"].items()}


def undescribed(schema, at=""):
    """The paths of fields without a sentence; metadata is Kubernetes' own, by reference."""
    for name, inner in schema.get("properties", {}).items():
        if not inner.get("description", "").strip():
            yield f"{at}.{name}"
        yield from undescribed(inner, f"{at}.{name}")
    for below in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(below, dict):
            yield from undescribed(below, f"{at}[]")


@pytest.mark.parametrize("kind", list(samples.KINDS))
def test_the_api_server_has_a_sentence_for_every_field_even_of_the_status(kinds, kind):
    schema = published(kinds)[kind]
    assert schema["properties"].keys() == {"apiVersion", "kind", "metadata", "spec", "status"}
    assert list(undescribed(schema)) == []


def leaves(schema):
    for name, inner in schema.get("properties", {}).items():
        yield name
        yield from leaves(inner if "properties" in inner else inner.get("items", {}))


@pytest.mark.parametrize("kind", list(samples.KINDS))
def test_kubectl_explain_lists_every_field_and_prints_its_sentence(kinds, kind):
    schema = published(kinds)[kind]["properties"]["spec"]
    names = [
        line.split()[0]
        for line in kinds.kubectl("explain", f"{kind.lower()}.spec", "--recursive").stdout.splitlines()
        if "\t" in line
    ]
    assert set(leaves(schema)) <= set(names)
    said = " ".join(kinds.kubectl("explain", f"{kind.lower()}.spec").stdout.split())
    for name, inner in schema["properties"].items():
        assert " ".join(inner["description"].split()) in said, name


COLUMNS = {
    "Agent": ("READY REASON PRIORITY QUEUE POLICY AGE", "NODE TOKENS USD HEARTBEAT"),
    "Tool": ("READY REASON TOOL-NAME VERSION AGE", "ENTRY REPLICAS ENDPOINT"),
    "Tenant": ("READY REASON DISPLAY-NAME AGE", ""),
    "SandboxProfile": ("READY REASON SECCOMP NODES AGE", ""),
    "Policy": ("READY REASON MODE REVISION BUNDLE AGE", "CANDIDATE"),
}


@pytest.mark.parametrize("kind", list(samples.KINDS))
def test_kubectl_get_shows_the_columns_of_the_contract(kinds, kind):
    (example,) = samples.examples(samples.ROOT / f"crds/{kind.lower()}.md")
    example["metadata"]["name"] = "columns"
    kinds.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(example))
    where = ("--namespace", example["metadata"].get("namespace", "default"))
    short = samples.KINDS[kind].names.short[0]
    try:
        narrow, wide = COLUMNS[kind]
        assert kinds.kubectl("get", short, "columns", *where).stdout.splitlines()[0].split() == [
            "NAME",
            *narrow.split(),
        ]
        (head, _) = kinds.kubectl("get", short, "columns", "-o", "wide", *where).stdout.splitlines()
        assert head.split() == ["NAME", *narrow.split(), *wide.split()]
    finally:
        kinds.kubectl("delete", short, "columns", *where)


def test_a_row_of_kubectl_get_agents_says_how_each_one_fares(kinds):
    spec = {"version": "1.0.0", "entry": "x"}
    agent = {"apiVersion": "aion.os/v1", "kind": "Agent", "metadata": {"name": "columns"}, "spec": spec}
    kinds.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(agent))
    ready = {
        "type": "Ready",
        "status": "False",
        "reason": "CrashLoop",
        "message": "x",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {
        "conditions": [ready],
        "priority": 5,
        "queue": "normal",
        "nodeName": "n1",
        "usage": {"tokens": 12, "usd": "0.10"},
    }
    status |= {"effectivePolicy": {"revision": 7, "digest": "ab" * 32}}
    try:
        kinds.kubectl(
            "patch", "ag", "columns", "--subresource=status", "--type=merge", "-p", json.dumps({"status": status})
        )
        row = kinds.kubectl("get", "ag", "columns", "-o", "wide", "--no-headers").stdout.split()
        assert row[:6] == ["columns", "False", "CrashLoop", "5", "normal", "7"]
        assert row[7:10] == ["n1", "12", "0.10"]
        listed = [line.split()[0] for line in kinds.kubectl("get", "aion", "--no-headers").stdout.splitlines()]
        assert "agent.aion.os/columns" in listed
    finally:
        kinds.kubectl("delete", "ag", "columns")


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
