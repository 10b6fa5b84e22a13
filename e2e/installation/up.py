"""`e2e/up`: cluster, images, chart, samples, answer; each step says what it does and how long it took.

The order only: each step is one call into the module that knows how. A second run passes over what has not changed.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clusters import choice, settings
from clusters.failure import Failed
from installation import demo, models, packages, release
from installation.kubectl import Kubectl

_began = time.monotonic()


def run(*, samples: bool) -> None:
    """Have everything. Raises Failed with what to read or do."""
    chosen = settings.read()
    cluster = choice.provider(chosen)
    with _step("A cluster"):
        cluster.up()
    status = cluster.status()
    folder = chosen.state
    with _step("Images"):
        packages.ensure(folder / "logs/packages.log", engine_builds=choice.answering_engine() is not None)
        images = build()
    with _step("Images into the cluster"):
        for reference in images.values():
            _say(cluster.load(reference))
    kubectl = Kubectl.of_local_cluster()
    with _step("AION-OS, by its Helm chart"):
        release.install(kubectl, images, status=status, folder=folder)
        models.apply(kubectl, image=images["gateway"])
        models.await_ready(kubectl)
    if samples:
        _show_demo(kubectl, images)
    else:
        print(kubectl.run("get", "pods", "-A"))


def build(*names: str) -> dict[str, str]:
    """Build what changed of the installation's images, or of these; image name -> reference."""
    done = subprocess.run(
        [release.REPO / "e2e/images", "-o", "json", *names], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise Failed("the images could not be built: the reason is above")
    return dict(json.loads(done.stdout))


def _show_demo(kubectl: Kubectl, images: dict[str, str]) -> None:
    with _step("A Tool and an Agent"):
        demo.apply(kubectl, search_image=images["search"])
        demo.await_ready(kubectl)
    status = choice.provider(settings.read()).status()
    demo.show(kubectl, binaries=Path(status["bin"]) if status["bin"] else None)
    _say(f"done in {time.monotonic() - _began:.0f} s")


@contextmanager
def _step(title: str) -> Iterator[None]:
    started = time.monotonic()
    print(f"\n\033[1m[{started - _began:4.0f}s] {title}\033[0m", file=sys.stderr, flush=True)
    yield
    if (spent := time.monotonic() - started) >= 1:
        _say(f"took {spent:.1f} s")


def _say(line: str) -> None:
    print(f"        {line}", file=sys.stderr, flush=True)
