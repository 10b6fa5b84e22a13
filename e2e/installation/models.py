"""The models of the local cluster: a stand-in that runs there, the backends of the chart's values, and who is asked for what.

Apart from the release, which only merges these values in. It must never name a model that costs real money.
"""

from pathlib import Path
from typing import Any

from installation.kubectl import Kubectl

MANIFEST = Path(__file__).resolve().parents[1] / "models/manifest.yaml"
NAMESPACE = "aion-models"
IMAGE = "localhost/aion-os/gateway:dev"

STANDIN_PRICE = {"input": "0.50", "output": "1.50"}
VALUES: dict[str, Any] = {
    "models": {
        "backends": {
            "standin": {
                "kind": "openai",
                "url": f"http://standin.{NAMESPACE}.svc:8000/v1",
                "price": STANDIN_PRICE,
            },
            "llama": {
                "kind": "openai",
                "url": f"http://llama.{NAMESPACE}.svc:8000/v1",
                "price": {"input": "0.10", "output": "0.40"},
            },
        }
    },
    "policy": {
        "models": {
            "routes": [
                {"model": "gpt-*", "backends": ["standin"]},
                {"model": "claude-*", "backends": ["standin"]},
                {"model": "gemma*", "backends": ["llama"]},
            ]
        }
    },
}


def apply(kubectl: Kubectl, *, image: str) -> None:
    """Have the stand-in, in the gateway's image, which holds it."""
    manifest = MANIFEST.read_text().replace(IMAGE, image)
    kubectl.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)


def await_ready(kubectl: Kubectl) -> None:
    """Wait for it."""
    kubectl.run("rollout", "status", "deployment/standin", "-n", NAMESPACE, "--timeout=90s")
