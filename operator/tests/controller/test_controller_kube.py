"""The rim against a real API server: applied, counted, refused in a way that a worker can act on."""

import uuid
from datetime import UTC, datetime

import pytest

from aion.controller import errors, kube, lease, metrics, render_agent, sealed
from aion.controller.budget import Budget
from aion.controller.recipes import AgentRecipe
from aion.controller.settings import Settings
from aion.controller.views import Key

pytestmark = pytest.mark.apiserver


@pytest.fixture
async def rim(apiserver):
    connected = await kube.Kube.connect(kubeconfig=str(apiserver.kubeconfig))
    yield connected
    await connected.close()


@pytest.fixture
def namespace(apiserver):
    name = f"t-{uuid.uuid4().hex[:8]}"
    apiserver.kubectl("create", "namespace", name)
    return name


def account(namespace, name="agent-a", **labels):
    meta = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}


def writes(kind, verb, code):
    return metrics.API_WRITES.labels(kind, "", verb, code)._value.get()


async def test_applying_again_takes_back_the_fields_that_were_left_out(rim, namespace):
    first = await rim.apply(account(namespace, one="1", two="2"))
    again = await rim.apply(account(namespace, one="1"))
    assert first["metadata"]["labels"] == {"one": "1", "two": "2"}
    assert again["metadata"]["labels"] == {"one": "1"}
    assert first["metadata"]["uid"] == again["metadata"]["uid"]


async def test_applying_the_same_twice_does_not_change_the_object(rim, namespace):
    first = await rim.apply(account(namespace, one="1"))
    again = await rim.apply(account(namespace, one="1"))
    assert first["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]


async def test_creating_what_exists_leaves_it_alone(rim, namespace):
    assert await rim.create(account(namespace, one="1"))
    assert not await rim.create(account(namespace, one="2"))


async def test_deleting_spares_another_object_of_the_same_name(rim, namespace):
    made = await rim.apply(account(namespace))
    where = {"namespace": namespace, "name": "agent-a"}
    assert not await rim.delete(kube.SERVICE_ACCOUNTS, **where, uid="00000000-0000-0000-0000-000000000000")
    assert await rim.delete(kube.SERVICE_ACCOUNTS, **where, uid=made["metadata"]["uid"])
    assert not await rim.delete(kube.SERVICE_ACCOUNTS, **where, uid=made["metadata"]["uid"])


async def test_a_list_follows_its_pages(rim, namespace, monkeypatch):
    monkeypatch.setattr(kube, "PAGE", 2)
    for n in range(5):
        await rim.apply(account(namespace, name=f"a{n}", batch=namespace))
    pages = [page async for page in rim.pages(kube.SERVICE_ACCOUNTS, selector=f"batch={namespace}")]
    assert sorted(each["metadata"]["name"] for page in pages for each in page.items) == [f"a{n}" for n in range(5)]
    assert len(pages) == 3
    assert len({page.version for page in pages}) == 1


async def test_a_list_may_be_of_one_namespace(rim, namespace):
    await rim.apply(account(namespace))
    (page,) = [page async for page in rim.pages(kube.SERVICE_ACCOUNTS, namespace=namespace)]
    assert [each["metadata"]["name"] for each in page.items] == ["agent-a"]


async def test_a_listed_object_names_its_kind_though_the_server_names_it_once(rim, namespace):
    await rim.apply(account(namespace, batch=namespace))
    (page,) = [page async for page in rim.pages(kube.SERVICE_ACCOUNTS, selector=f"batch={namespace}")]
    (listed,) = page.items
    assert (listed["apiVersion"], listed["kind"]) == ("v1", "ServiceAccount")


async def test_a_watch_tells_what_happens_after_a_list(rim, namespace):
    (page,) = [page async for page in rim.pages(kube.SERVICE_ACCOUNTS, namespace=namespace)]
    made = await rim.apply(account(namespace))
    where = {"namespace": namespace, "name": "agent-a"}
    await rim.delete(kube.SERVICE_ACCOUNTS, **where, uid=made["metadata"]["uid"])
    stream = rim.watch(kube.SERVICE_ACCOUNTS, since=page.version, namespace=namespace)
    told = [await anext(stream), await anext(stream)]
    await stream.aclose()
    assert [(each.change, each.document["metadata"]["name"]) for each in told] == [
        ("ADDED", "agent-a"),
        ("DELETED", "agent-a"),
    ]


async def test_applying_at_a_version_is_a_compare_and_swap(rim, namespace):
    first = await rim.apply(account(namespace, one="1"))
    await rim.apply(account(namespace, one="2"))
    late = account(namespace, one="3")
    late["metadata"]["resourceVersion"] = first["metadata"]["resourceVersion"]
    with pytest.raises(errors.Conflict):
        await rim.apply(late)


async def test_a_refusal_carries_the_servers_sentence_and_is_counted(rim, namespace):
    before = writes("ServiceAccount", "apply", "422")
    with pytest.raises(errors.Refused, match="bad name"):
        await rim.apply(account(namespace, **{"bad name": "x"}))
    assert writes("ServiceAccount", "apply", "422") == before + 1


async def test_a_missing_namespace_is_not_found(rim):
    with pytest.raises(errors.NotFound):
        await rim.apply(account("no-such-namespace"))


async def test_a_silent_server_is_unreachable(tmp_path, apiserver):
    config = tmp_path / "kubeconfig"
    config.write_text(apiserver.kubeconfig.read_text().replace(apiserver.url, "https://127.0.0.1:9"))
    nobody = await kube.Kube.connect(kubeconfig=str(config))
    with pytest.raises(errors.Unreachable, match="did not answer"):
        await nobody.apply(account("default"))
    await nobody.close()


async def test_the_rendered_pod_passes_the_servers_restricted_admission(apiserver, rim, namespace):
    """The real server decides: Pod Security `restricted` is enforced on the namespace."""
    apiserver.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    apiserver.kubectl("create", "priorityclass", "aion-normal", "--value=1000", check=False)
    key = Key("Agent", namespace, "a")
    recipe = AgentRecipe(
        key=key, uid="u1", version="1.0.0", argv=("true",), queue="normal", cpu="1", memory="64Mi", profile="ab" * 32
    )
    await rim.apply(render_agent.service_account(recipe))
    assert await rim.create(sealed.tenant_keys(namespace, secret="s" * 32))
    pod = render_agent.pod(recipe, settings=Settings())
    stored = await rim.apply(pod)
    again = await rim.apply(pod)
    assert stored["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]


async def test_of_a_large_object_only_the_metadata_may_be_read(rim, apiserver, namespace):
    apiserver.kubectl("create", "configmap", "src", "-n", namespace, "--from-literal=a=b")
    where = {"namespace": namespace, "name": "src"}
    small = await rim.read(kube.CONFIG_MAPS, **where, metadata_only=True)
    assert "data" not in small
    whole = await rim.read(kube.CONFIG_MAPS, **where)
    assert (whole["data"], whole["metadata"]["resourceVersion"]) == ({"a": "b"}, small["metadata"]["resourceVersion"])
    with pytest.raises(errors.NotFound):
        await rim.read(kube.CONFIG_MAPS, namespace=namespace, name="none")


async def test_a_merge_adds_and_takes_away_what_it_names_and_leaves_the_rest(rim, apiserver, namespace):
    apiserver.kubectl("create", "configmap", "src", "-n", namespace, "--from-literal=a=b", "--from-literal=c=d")
    where = {"namespace": namespace, "name": "src"}
    await rim.merge(kube.CONFIG_MAPS, **where, patch={"data": {"a": None, "e": "f"}})
    assert (await rim.read(kube.CONFIG_MAPS, **where))["data"] == {"c": "d", "e": "f"}


async def test_a_process_whose_term_is_over_sends_no_write_but_may_still_see_and_claim_the_lease(apiserver, namespace):
    idle = await kube.Kube.connect(kubeconfig=str(apiserver.kubeconfig), may_write=lambda: False)
    with pytest.raises(errors.Unreachable, match="does not hold the Lease"):
        await idle.apply(account(namespace))
    claim = lease.held("me", None, namespace=namespace, at=datetime.now(UTC))
    first = await idle.put(claim)
    assert lease.read(await idle.read(kube.LEASES, namespace=namespace, name=lease.NAME)).holder == "me"
    with pytest.raises(errors.Conflict):
        await idle.put(claim)
    renewed = lease.held("me", lease.read(first), namespace=namespace, at=datetime.now(UTC))
    await idle.put(renewed)
    with pytest.raises(errors.Conflict):
        await idle.put(renewed)
    await idle.close()
    assert "agent-a" not in apiserver.kubectl("get", "serviceaccounts", "-n", namespace).stdout


async def test_every_write_takes_its_token_and_a_read_takes_none(apiserver, namespace):
    budget = Budget(per_s=1000, burst=1, clock=lambda: 0.0)
    paced = await kube.Kube.connect(kubeconfig=str(apiserver.kubeconfig), budget=budget)
    for n in range(3):
        await paced.apply(account(namespace, name=f"a{n}"))
    await paced.read(kube.SERVICE_ACCOUNTS, namespace=namespace, name="a0")
    await paced.close()
    assert round(budget.book(), 6) == 0.003
