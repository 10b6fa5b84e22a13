"""What the API server itself refuses, by the chart's admission policies: on a real server, with no controller running."""

import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

import pytest

import charts_render
from aion.controller import render_agent, sealed
from aion.controller.recipes import AgentRecipe
from aion.controller.settings import Settings
from aion.controller.views import Key

pytestmark = pytest.mark.apiserver

CONTROLLER = "system:serviceaccount:aion-system:aion-controller"
TESTERS = "testers"  # may do everything, as far as RBAC goes


def rendered():
    """The chart's file as Helm renders it with one more group that may enter."""
    kinds = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    found = [each for kind in kinds for each in charts_render.of(kind, "admission.debuggers={sre}")]
    return [each for each in found if each["metadata"]["name"] != "aion-node"]


class Asker:
    """Requests to the real server as somebody else."""

    def __init__(self, server):
        context = ssl.create_default_context(cafile=str(server.ca))
        context.load_cert_chain(server.cert, server.key)
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        self._url = server.url

    def ask(self, method, path, body=None, *, user="mallory", groups=TESTERS, kind="application/json"):
        """Answers (code, message)."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data=data, method=method)
        request.add_header("Content-Type", kind)
        request.add_header("Impersonate-User", user)
        request.add_header("Impersonate-Group", groups)
        try:
            with self._opener.open(request, timeout=10) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            try:
                return error.code, json.loads(text).get("message", text)
            except ValueError:
                return error.code, text


@pytest.fixture(scope="module")
def guarded(apiserver):
    """The policies in force, and taken away again: other tests share the server."""
    documents = rendered()
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "admission-testers"},
        "rules": [everything],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "admission-testers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admission-testers"},
        "subjects": [
            {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name}
            for name in ("testers", "sre", "system:nodes")
        ],
    }
    priority = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "aion-normal"},
        "value": 1000,
    }
    made = [*documents, role, binding]
    text = "\n---\n".join(json.dumps(document) for document in (*made, priority))
    apiserver.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    asker = Asker(apiserver)
    yield asker
    text = "\n---\n".join(json.dumps(document) for document in made)
    apiserver.kubectl("delete", "-f", "-", stdin=text)


@pytest.fixture(scope="module")
def team(guarded, apiserver):
    """A tenant's namespace in which every policy has begun to count."""
    name = f"team-{uuid.uuid4().hex[:6]}"
    meta = {"name": name, "labels": {"aion.os/tenant": name, "theirs": "yes"}}
    apiserver.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": meta}))
    probes = (
        lambda: guarded.ask("POST", f"/api/v1/namespaces/{name}/pods?dryRun=All", pod(name))[0] == 422,
        lambda: guarded.ask("POST", f"/api/v1/namespaces/{name}/pods/x/exec?command=id")[0] == 403,
        lambda: guarded.ask("POST", f"/api/v1/namespaces/{name}/secrets?dryRun=All", secret("x"), user=CONTROLLER)[0] == 422,
        lambda: guarded.ask("POST", f"/api/v1/namespaces/{name}/serviceaccounts?dryRun=All", account(name))[0] == 403,
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while not all(probe() for probe in probes):
        assert time.monotonic() < deadline, [probe() for probe in probes]
        time.sleep(0.1)
    return name


def pod(namespace):
    """Just what the controller makes."""
    recipe = AgentRecipe(
        key=Key("Agent", namespace, "a"), uid="u1", version="1.0.0", argv=("python3", "agent.py"), queue="normal",
        cpu="1", memory="1Gi", profile="ab" * 32, config_map="src", source_digest="0123456789abcdef",
        tolerations=({"key": "gpu", "operator": "Exists"},), env=({"name": "MODE", "value": "x"},),
    )  # fmt: skip
    return render_agent.pod(recipe, settings=Settings())


def secret(name):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}


def account(namespace, name="a"):
    """The ServiceAccount that the controller makes for Agent `name`."""
    recipe = AgentRecipe(
        key=Key("Agent", namespace, name), uid="u1", version="1.0.0", argv=("x",), queue="normal", cpu="1", memory="1Gi", profile="ab" * 32
    )  # fmt: skip
    return render_agent.service_account(recipe)


def create(guarded, namespace, document, **who):
    return guarded.ask("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", document, **who)


def test_the_controller_may_create_what_it_renders_and_nobody_else_may(guarded, team):
    assert create(guarded, team, pod(team), user=CONTROLLER)[0] == 201
    code, said = create(guarded, team, pod(team))
    assert (code, "only AION-OS may create Pods" in said) == (422, True)
    code, said = create(guarded, team, pod(team), user="root", groups="system:masters")
    assert code == 422, "not even an administrator, by accident"


def test_a_pod_without_the_label_is_none_of_our_business(guarded, team):
    document = pod(team)
    document["metadata"]["labels"] = {"app": "mine"}
    document["spec"]["containers"][0]["securityContext"]["privileged"] = False
    assert create(guarded, team, document)[0] == 201


def widened(change):
    return pytest.param(change, id=change.__name__)


def host_network(spec):
    spec["hostNetwork"] = True


def host_pid(spec):
    spec["hostPID"] = True


def api_token(spec):
    spec["automountServiceAccountToken"] = True


def another_account(spec):
    spec["serviceAccountName"] = "agent-other"


def init_container(spec):
    first = {name: value for name, value in spec["containers"][1].items() if name != "lifecycle"}
    spec["initContainers"] = [{**first, "name": "first"}]


def third_container(spec):
    spec["containers"].append({**spec["containers"][1], "name": "third"})


def other_order(spec):
    spec["containers"].reverse()


def escalation(spec):
    spec["containers"][1]["securityContext"]["allowPrivilegeEscalation"] = True


def capability(spec):
    spec["containers"][1]["securityContext"]["capabilities"] = {"drop": ["ALL"], "add": ["NET_RAW"]}


def kept_capabilities(spec):
    spec["containers"][0]["securityContext"]["capabilities"] = {}


def writable_root(spec):
    spec["containers"][1]["securityContext"]["readOnlyRootFilesystem"] = False


def no_security_context(spec):
    del spec["containers"][1]["securityContext"]


def root_user(spec):
    spec["containers"][1]["securityContext"] |= {"runAsUser": 0, "runAsNonRoot": False}


def gateways_user(spec):
    spec["containers"][1]["securityContext"]["runAsUser"] = 10002


def unconfined(spec):
    spec["containers"][1]["securityContext"]["seccompProfile"] = {"type": "Unconfined"}


def runtimes_profile(spec):
    spec["containers"][1]["securityContext"]["seccompProfile"] = {"type": "RuntimeDefault"}


def foreign_profile(spec):
    spec["containers"][1]["securityContext"]["seccompProfile"]["localhostProfile"] = "open.json"


def no_launcher(spec):
    spec["containers"][1]["command"] = ["python3", "agent.py"]


def the_images_own_command(spec):
    del spec["containers"][1]["command"]


def keys_for_the_agent(spec):
    spec["containers"][1]["volumeMounts"].append({"name": "keys", "mountPath": "/keys", "readOnly": True})


def writable_socket_folder(spec):
    spec["containers"][1]["volumeMounts"][1]["readOnly"] = False


def hook(spec):
    spec["containers"][1]["lifecycle"] = {"postStart": {"exec": {"command": ["sh"]}}}


def last_words(spec):
    spec["containers"][1]["lifecycle"] = {"preStop": {"exec": {"command": ["sh"]}}}


def parked_elsewhere(spec):
    spec["containers"][1]["lifecycle"]["preStop"]["httpGet"]["host"] = "169.254.169.254"


def hook_beside_parking(spec):
    spec["containers"][1]["lifecycle"]["postStart"] = {"exec": {"command": ["sh"]}}


def another_port(spec):
    spec["containers"][1]["lifecycle"]["preStop"]["httpGet"]["port"] = 80


def probe(spec):
    spec["containers"][1]["livenessProbe"] = {"exec": {"command": ["sh"]}}


def host_folder(spec):
    spec["volumes"].append({"name": "host", "hostPath": {"path": "/"}})


def host_folder_by_a_known_name(spec):
    spec["volumes"][1] = {"name": "run", "hostPath": {"path": "/run"}}


def foreign_secret(spec):
    spec["volumes"][3] = {"name": "keys", "secret": {"secretName": "database"}}


def token_for_the_api(spec):
    spec["volumes"][4]["projected"]["sources"][0]["serviceAccountToken"]["audience"] = "https://kubernetes.default.svc"


def host_port(spec):
    spec["containers"][0]["ports"][0]["hostPort"] = 8011


WIDENED = [
    host_network, host_pid, api_token, another_account, init_container, third_container, other_order, escalation,
    capability, kept_capabilities, writable_root, no_security_context, root_user, gateways_user, unconfined,
    runtimes_profile, foreign_profile, no_launcher, the_images_own_command, keys_for_the_agent, writable_socket_folder,
    hook, last_words, parked_elsewhere, hook_beside_parking, another_port, probe, host_folder, host_folder_by_a_known_name, foreign_secret, token_for_the_api, host_port,
]  # fmt: skip


@pytest.mark.parametrize("change", [widened(each) for each in WIDENED])
def test_even_the_controller_creates_no_agents_pod_that_is_less_sealed(guarded, team, change):
    document = pod(team)
    change(document["spec"])
    code, said = create(guarded, team, document, user=CONTROLLER)
    assert (code, "ValidatingAdmissionPolicy 'aion-agent-pods'" in said) == (422, True), said


def test_an_agents_pod_stays_as_it_was_made(guarded, team):
    path = f"/api/v1/namespaces/{team}/pods"
    assert guarded.ask("POST", path, pod(team), user=CONTROLLER)[0] == 201
    made = f"{path}/{pod(team)['metadata']['name']}"
    merge = "application/merge-patch+json"

    def patch(body, where=made, kind=merge, **who):
        return guarded.ask("PATCH", where + "?dryRun=All", body, kind=kind, **who)

    def touched(**labels):
        return {"metadata": {"labels": labels}}

    assert patch(touched(mine="yes"))[0] == 200
    assert patch({"metadata": touched(**{"aion.os/agent": None})["metadata"]})[0] == 422
    assert patch(touched(**{"aion.os/agent": "b"}))[0] == 422
    image = {"spec": {"containers": [{"name": "agent", "image": "evil"}]}}
    code, said = patch(image, kind="application/strategic-merge-patch+json")
    assert (code, "change the Agent instead" in said) == (422, True)
    ephemeral = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox"}]}}
    code, said = patch(ephemeral, f"{made}/ephemeralcontainers", "application/strategic-merge-patch+json")
    assert (code, "no ephemeral container" in said or "stays as it was made" in said) == (422, True)

    plain = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain"}}
    assert guarded.ask("POST", path, {**plain, "spec": {"containers": [{"name": "c", "image": "x"}]}})[0] == 201
    assert patch(touched(**{"aion.os/agent": "a"}), f"{path}/plain")[0] == 422


@pytest.mark.parametrize("way", ["exec?command=id", "attach", "portforward", "proxy/"])
def test_nobody_enters_a_tenants_pod_but_those_who_are_named(guarded, team, way):
    path = f"/api/v1/namespaces/{team}/pods/x/{way}"
    code, said = guarded.ask("POST", path)
    assert (code, "nobody enters the Pods of a tenant" in said) == (403, True), said
    for groups in ("sre", "system:masters"):
        assert "nobody enters" not in guarded.ask("POST", path, groups=groups)[1]
    assert "nobody enters" not in guarded.ask("POST", f"/api/v1/namespaces/default/pods/x/{way}")[1]


def test_the_controller_writes_no_secret_but_the_tenants_keys(guarded, team):
    path = f"/api/v1/namespaces/{team}/secrets?dryRun=All"
    keys = sealed.tenant_keys(team, secret="x")
    assert guarded.ask("POST", path, keys, user=CONTROLLER)[0] == 201
    assert guarded.ask("POST", path, secret("database"), user=CONTROLLER)[0] == 422
    assert guarded.ask("POST", path, secret("database"))[0] == 201, "people may"


def test_the_controller_changes_no_namespace_but_its_two_labels(guarded, team):
    path = f"/api/v1/namespaces/{team}?dryRun=All"
    merge = "application/merge-patch+json"

    def labelled(name, value):
        return guarded.ask("PATCH", path, {"metadata": {"labels": {name: value}}}, user=CONTROLLER, kind=merge)[0]

    assert labelled("pod-security.kubernetes.io/enforce", "restricted") == 200
    assert labelled("pod-security.kubernetes.io/warn", "restricted") == 422
    assert labelled("theirs", None) == labelled("theirs", "no") == 422
    annotated = {"metadata": {"annotations": {"a": "b"}}}
    assert guarded.ask("PATCH", path, annotated, user=CONTROLLER, kind=merge)[0] == 422
    fresh = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fresh"}}
    assert guarded.ask("POST", "/api/v1/namespaces?dryRun=All", fresh, user=CONTROLLER)[0] == 422


# -- an Agent's ServiceAccount: who runs as it, and who gets a token of it

KUBELET = {"user": "system:node:n1", "groups": "system:nodes"}


@pytest.fixture(scope="module")
def accounts(guarded, team):
    """Agent a's account, and one by such a name that somebody made for something else."""
    path = f"/api/v1/namespaces/{team}/serviceaccounts"
    plain = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "agent-smith"}}
    assert guarded.ask("POST", path, account(team), user=CONTROLLER)[0] == 201
    assert guarded.ask("POST", path, plain)[0] == 201
    deadline = time.monotonic() + 20  # the API server learns of an account by a watch of its own
    while token(guarded, team, "agent-a")[0] == 201:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return path


def token(guarded, namespace, name, *, audience="aion-kernel", pod=None, **who):
    spec = {"audiences": [audience], "expirationSeconds": 600}
    spec |= {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod[0], "uid": pod[1]}} if pod else {}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    return guarded.ask("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", body, **who)


def under(name):
    spec = {"serviceAccountName": name, "containers": [{"name": "c", "image": "x"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mine"}, "spec": spec}


def test_nobody_runs_a_pod_of_their_own_under_an_agents_account(guarded, team, accounts):
    for who in ({}, {"user": "root", "groups": "system:masters"}, {"user": CONTROLLER}):
        code, said = create(guarded, team, under("agent-a"), **who)
        assert (code, "ServiceAccount agent-a is for the Pod of its Agent alone" in said) == (403, True), said
    theirs = {**pod(team), "metadata": {**pod(team)["metadata"], "name": "a-another"}}
    assert create(guarded, team, theirs, user=CONTROLLER)[0] == 201
    assert create(guarded, team, under("agent-smith"))[0] == 201, (
        "an account that we did not make is none of our business"
    )
    assert create(guarded, team, under("mine"))[0] == 201
    assert create(guarded, "default", under("agent-a"))[0] == 201, "nor is one of another namespace"


def test_a_token_of_an_agents_account_is_for_its_kubelet(guarded, team, accounts):
    theirs = {**pod(team), "metadata": {**pod(team)["metadata"], "name": "a-bound"}}
    made = json.loads(guarded.ask("POST", f"/api/v1/namespaces/{team}/pods", theirs, user=CONTROLLER)[1])
    bound = (made["metadata"]["name"], made["metadata"]["uid"])
    for audience in ("aion-kernel", "https://kubernetes.default.svc"):
        for who in ({}, {"user": "root", "groups": "system:masters"}, {"user": CONTROLLER}):
            for to in (None, bound):
                code, said = token(guarded, team, "agent-a", audience=audience, pod=to, **who)
                assert (code, "gives tokens to the kubelet of its Agent alone" in said) == (403, True), said
    code, said = token(guarded, team, "agent-a", pod=bound, **KUBELET)
    assert (code, bool(json.loads(said)["status"]["token"])) == (201, True)
    assert token(guarded, team, "agent-smith")[0] == 201


def test_nobody_has_a_token_of_an_agents_account_put_into_a_secret(guarded, team, accounts):
    def of(name):
        meta = {"name": "theirs", "annotations": {"kubernetes.io/service-account.name": name}}
        made = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "kubernetes.io/service-account-token"}
        return guarded.ask("POST", f"/api/v1/namespaces/{team}/secrets?dryRun=All", made)

    code, said = of("agent-a")
    assert (code, "gives tokens to the kubelet of its Agent alone" in said) == (403, True), said
    assert of("agent-smith")[0] == of("mine")[0] == 201


def test_the_label_by_which_an_agents_account_is_found_stays_and_so_does_the_account(guarded, team, accounts):
    path, merge = f"{accounts}/agent-a?dryRun=All", "application/merge-patch+json"

    def patch(labels, **who):
        return guarded.ask("PATCH", path, {"metadata": {"labels": labels}}, kind=merge, **who)

    for taken in ({"aion.os/agent": None}, {"aion.os/agent": "b"}):
        code, said = patch(taken)
        assert (code, "set by AION-OS alone" in said) == (403, True), said
    assert patch({"mine": "yes"})[0] == 200
    assert patch({"aion.os/agent": "a"}, user=CONTROLLER)[0] == 200
    code, said = guarded.ask("DELETE", path)
    assert (code, "goes with its Agent" in said) == (403, True), said
    for user in (
        CONTROLLER,
        "system:serviceaccount:kube-system:generic-garbage-collector",
        "system:kube-controller-manager",
    ):
        assert guarded.ask("DELETE", path, user=user)[0] == 200, user
    code, said = guarded.ask("POST", f"{accounts}?dryRun=All", account(team, "other"))
    assert (code, "set by AION-OS alone" in said) == (403, True), said
