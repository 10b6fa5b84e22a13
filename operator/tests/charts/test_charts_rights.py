"""Who may do what, by the chart: nothing by wildcard, no Secret that was not named, nothing outside a namespaced installation."""

import pytest

import charts_render as chart

pytestmark = pytest.mark.apiserver  # it needs the local cluster's helm

READS = {"get", "list", "watch"}
MODES = [pytest.param((), id="cluster"), pytest.param(chart.BOUND, id="namespaced")]


def rules(*values, kinds=("ClusterRole", "Role")):
    return [(role, rule) for kind in kinds for role in chart.of(kind, *values) for rule in role.get("rules", ())]


def called(role):
    meta = role["metadata"]
    return f"{role['kind']} {meta.get('namespace', '')}/{meta['name']}"


@pytest.mark.parametrize("values", MODES)
def test_no_rule_holds_a_wildcard(values):
    found = rules(*values, *chart.EVERYTHING)
    assert len(found) > 20
    for role, rule in found:
        for field in ("apiGroups", "resources", "verbs", "nonResourceURLs", "resourceNames"):
            assert not [each for each in rule.get(field, ()) if "*" in each], (called(role), rule)


@pytest.mark.parametrize("values", MODES)
def test_no_secret_is_read_but_the_tenants_keys_and_these_by_name(values):
    reading = [
        (role, rule)
        for role, rule in rules(*values, *chart.EVERYTHING)
        if "secrets" in rule.get("resources", ()) and READS & set(rule["verbs"])
    ]
    assert reading, "the kernel reads keys"
    for role, rule in reading:
        assert rule["resourceNames"] == ["aion-tenant-keys"], called(role)
        assert rule["verbs"] == ["get"], f"{called(role)}: a list or a watch knows no names"
        assert role["metadata"]["name"] == "aion-kernel-tenants"


def test_a_namespaced_installation_may_do_nothing_in_other_namespaces():
    homes = {"tenant-a", "tenant-b", chart.NAMESPACE, "default"}
    roles = chart.of("Role", *chart.BOUND)
    assert {role["metadata"]["namespace"] for role in roles} == homes
    (elsewhere,) = (role for role in roles if role["metadata"]["namespace"] == "default")
    assert elsewhere["rules"] == [{"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]}]


def test_what_a_namespaced_installation_may_do_to_the_whole_cluster_is_little_and_named():
    people = {role["metadata"]["name"] for role in chart.of("ClusterRole", *chart.BOUND) if _for_people(role)}
    assert people == {"aion-viewer", "aion-editor", "aion-admin", "aion-platform", "aion-observer"}
    theirs = ["tenant-a", "tenant-b"]
    found = {
        (role["metadata"]["name"], resource): (set(rule["verbs"]), rule.get("resourceNames"))
        for role, rule in rules(*chart.BOUND, kinds=("ClusterRole",))
        if not _for_people(role)
        for resource in rule["resources"]
    }
    assert found == {
        ("aion-controller", "tenants"): ({"list", "watch"}, theirs),
        ("aion-controller", "tenants/status"): ({"patch"}, theirs),
        ("aion-controller", "tenants/finalizers"): ({"update"}, theirs),
        ("aion-controller", "namespaces"): ({"list", "watch", "patch"}, theirs),
        ("aion-controller", "nodes"): ({"list", "watch"}, None),
        ("aion-kernel", "tenants"): ({"list", "watch"}, theirs),
        ("aion-kernel", "tokenreviews"): ({"create"}, None),
        ("aion-kernel", "subjectaccessreviews"): ({"create"}, None),
        ("aion-node", "nodes"): ({"get", "patch"}, None),
    }


def _for_people(role):
    return role["metadata"]["labels"]["app.kubernetes.io/name"] == "aion-roles"


def test_both_modes_give_the_same_rights_in_a_tenants_namespace():
    for name in ("aion-controller-tenants", "aion-kernel-tenants"):
        (whole,) = (role for role in chart.of("ClusterRole") if role["metadata"]["name"] == name)
        bound = [role for role in chart.of("Role", *chart.BOUND) if role["metadata"]["name"] == name]
        assert [role["rules"] for role in bound] == [whole["rules"], whole["rules"]]


@pytest.mark.parametrize("values", MODES)
def test_every_role_is_bound_to_the_account_that_it_is_made_for_and_every_binding_has_its_role(values):
    roles = {(r["kind"], r["metadata"].get("namespace"), r["metadata"]["name"]) for r in _all(values, "Role")}
    bound = set()
    for binding in _all(values, "RoleBinding"):
        meta, ref = binding["metadata"], binding["roleRef"]
        role = (ref["kind"], meta.get("namespace"), ref["name"])
        assert role in roles
        bound.add(role)
        (subject,) = binding["subjects"]
        assert ref["name"] in {subject["name"], f"{subject['name']}-tenants"}
    people = {("ClusterRole", None, f"aion-{name}") for name in ("viewer", "editor", "admin", "platform", "observer")}
    assert bound == roles - people


def _all(values, kind):
    return [*chart.of(kind, *values), *chart.of(f"Cluster{kind}", *values)]


def test_who_views_edits_and_administers_a_namespace_gets_the_rights_to_our_kinds():
    aggregated = {}
    for role in chart.of("ClusterRole"):
        for label in role["metadata"]["labels"]:
            if label.startswith("rbac.authorization.k8s.io/aggregate-to-"):
                written = {r for rule in role["rules"] if "create" in rule["verbs"] for r in rule["resources"]}
                aggregated[label.rpartition("-")[2]] = written
    assert aggregated == {"view": set(), "edit": {"agents", "tools"}, "admin": {"agents", "tools", "policies"}}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("scope=Namespaced",), "name the tenants' namespaces in watchNamespaces"),
        (("watchNamespaces={tenant-a}",), "watchNamespaces is set, but scope is Cluster"),
        (("scope=namespaced",), "scope"),
        (("scope=Namespaced", "watchNamespaces={Tenant_A}"), "watchNamespaces"),
    ],
)
def test_a_scope_that_cannot_be_meant_is_refused(values, said):
    done = chart.template(*values)
    assert done.returncode != 0
    assert said in done.stderr


def test_a_namespaced_installation_guards_and_admits_only_its_own_namespaces():
    wanted = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["tenant-a", "tenant-b"]}
    bindings = {b["metadata"]["name"]: b["spec"] for b in chart.of("ValidatingAdmissionPolicyBinding", *chart.BOUND)}
    ours = {"aion-controller", "aion-node"}  # they narrow our own accounts, wherever these come
    assert bindings.keys() > ours
    for name in bindings.keys() - ours:
        assert bindings[name]["matchResources"]["namespaceSelector"] == {"matchExpressions": [wanted]}, name
    (kernel,) = (p for p in chart.of("NetworkPolicy", *chart.BOUND) if p["metadata"]["name"] == "aion-kernel")
    assert kernel["spec"]["ingress"][0]["from"][0]["namespaceSelector"] == {"matchExpressions": [wanted]}


@pytest.mark.parametrize("name", ["aion-controller", "aion-kernel"])
def test_the_processes_are_told_their_namespaces(name):
    for values, expected in (((), None), (chart.BOUND, '["tenant-a","tenant-b"]')):
        (deployment,) = (d for d in chart.of("Deployment", *values) if d["metadata"]["name"] == name)
        env = {
            each["name"]: each.get("value") for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        }
        assert env.get("AION_NAMESPACES") == expected
