"""What a GitOps tool needs of a chart: the same values give the same text, and nothing of it is decided by the cluster."""

import re

import pytest

import charts_render as chart

pytestmark = pytest.mark.apiserver  # it needs the local cluster's helm

UNSTEADY = re.compile(
    r"\b(lookup|rand\w+|uuidv4|now|ago|date\w*|htmlDate\w*|unixEpoch|genCA\w*|genPrivateKey|genSelfSigned\w*|genSigned\w*|shuffle|getHostByName"
    r"|derivePassword|bcrypt|htpasswd|encryptAES|env|expandenv)\b"
)
"""Functions whose answer is another one each time, or another one in another place."""

MODES = [(), chart.EVERYTHING, chart.BOUND]


@pytest.mark.parametrize("values", MODES)
def test_the_chart_rendered_twice_is_the_same(values):
    first, second = chart.template(*values), chart.template(*values)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout


def test_no_template_asks_the_cluster_the_clock_or_chance():
    actions = re.compile(r"\{\{.*?\}\}", re.DOTALL)
    files = [path for path in (chart.CHART / "templates").iterdir() if path.name != "NOTES.txt"]
    assert len(files) > 10
    for path in files:
        for action in actions.findall(path.read_text()):
            code = re.sub(r'"[^"]*"|/\*.*?\*/|\.[A-Za-z.]+', "", action, flags=re.DOTALL)
            assert not UNSTEADY.search(code), f"{path.name}: {action}"


@pytest.mark.parametrize("values", MODES)
def test_every_object_is_named_once_and_wears_no_hook(values):
    """A hook is run by Helm and by Argo CD each in its own way; here none is needed."""
    seen = set()
    for each in chart.documents(*values):
        meta = each["metadata"]
        name = (each["apiVersion"], each["kind"], meta.get("namespace"), meta["name"])
        assert name not in seen
        seen.add(name)
        assert not [key for key in meta.get("annotations", {}) if "hook" in key or key.startswith("argocd")]
        assert "finalizers" not in meta


def test_the_kernel_is_told_of_models_backends_as_it_reads_them():
    from aion.api import backends

    values = [
        "models.backends.vllm.kind=openai",
        "models.backends.vllm.url=http://vllm.models:8000/v1",
        "models.backends.vllm.price.input=0.05",
    ]
    (kernel,) = (
        each
        for each in chart.documents(*values)
        if each["kind"] == "Deployment" and each["metadata"]["name"] == "aion-kernel"
    )
    env = {each["name"]: each.get("value") for each in kernel["spec"]["template"]["spec"]["containers"][0]["env"]}
    (read,) = backends.read(env["AION_MODELS"]).values()
    assert (read.name, read.price_in, read.cloud) == ("vllm", 50_000, False)


def test_a_backend_outside_the_house_is_refused_without_tls():
    values = ("models.backends.far.kind=openai", "models.backends.far.url=http://api.example.org/v1")
    assert chart.template(*values).returncode == 0
    assert "models" in chart.template(*values, "models.backends.far.cloud=true").stderr
