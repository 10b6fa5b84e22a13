"""The benchmark `agent_start` from its options to its last line."""

import argparse
import contextlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from measuring import report, statistics
from measuring.report import Target, say

from clusters.failure import Failed
from installation.kubectl import Kubectl
from starting import api, idle, peer
from starting.api import Api
from starting.subjects import ALL, BARE, NAMESPACE, OURS, PODS, SANDBOX, Subject
from starting.watching import Watch

DESCRIPTION = """\
How long a sealed Agent takes from apply to Ready, beside a bare Pod, a Pod with a native sidecar and an agent-sandbox Sandbox.

    e2e/bench/agent_start             20 of each, interleaved, some 15 minutes
    e2e/bench/agent_start --quick     2 of each: shows that the benchmark works
    e2e/bench/agent_start --no-peer   without agent-sandbox, whose first build takes minutes

It needs the cluster of `e2e/up`. Each start is applied at a random moment, once the machine rests, and seen by a watch
that was opened before. agent-sandbox is installed for the run and removed after it. See e2e/bench/README.md.
"""
READY_S, GONE_S = 90, 90
GRACE_S = 5
TARGETS = (Target("ratio_to_bare", at_most=1.15),)


@dataclass
class Seen:
    """What one subject showed, a value a round, in ms from the apply."""

    ready: list[float] = field(default_factory=list)
    pod_made: list[float] = field(default_factory=list)
    pod_ready: list[float] = field(default_factory=list)


def main(argv: list[str]) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="e2e/bench/agent_start", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two rounds")
    parser.add_argument("--rounds", type=int, default=20, help="starts of each (default: 20)")
    parser.add_argument("--no-peer", action="store_true", help="leave out agent-sandbox")
    asked = parser.parse_args(argv)
    rounds, with_peer = 2 if asked.quick else asked.rounds, not asked.no_peer
    kubectl = Kubectl.of_local_cluster()
    if not kubectl.run("get", "crd", "agents.aion.os", "--ignore-not-found", "-o", "name").strip():
        raise Failed("AION-OS is not installed on the cluster", remedy="e2e/up")
    with peer.installed(kubectl) if with_peer else contextlib.nullcontext(), _namespace(kubectl):
        bench = Bench(kubectl, [subject for subject in ALL if with_peer or subject is not SANDBOX])
        bench.run(rounds)
    _print(bench, rounds=rounds)


class Bench:
    """The starts."""

    def __init__(self, kubectl: Kubectl, chosen: list[Subject]) -> None:
        at = api.cluster(kubectl)
        self._api = Api(at)
        self._watches = {path: Watch(at, path) for path in dict.fromkeys([PODS, *(subject.path for subject in chosen)])}
        self._draw = random.Random(3)
        self.image = ""
        self.chosen = chosen
        self.seen = {subject.name: Seen() for subject in chosen}
        self.restless = 0

    def run(self, rounds: int) -> None:
        """Warm each up once, then the rounds; the order turns from round to round."""
        say("one of each, which does not count")
        for subject in self.chosen:
            self._once(subject, "warm", Seen())
        self.restless = 0
        for number in range(rounds):
            turn = number % len(self.chosen)
            for subject in self.chosen[turn:] + self.chosen[:turn]:
                self._once(subject, f"{number:02d}", self.seen[subject.name])
            latest = ", ".join(f"{name} {seen.ready[-1]:.0f}" for name, seen in self.seen.items())
            say(f"round {number + 1} of {rounds}: {latest} ms")
        for watch in self._watches.values():
            watch.stop()

    def _once(self, subject: Subject, round_: str, into: Seen) -> None:
        """Start one, note when it was ready, and have it gone before returning."""
        name = f"{subject.name.replace('_', '-')}-{round_}"
        self.restless += not idle.await_rest()
        time.sleep(self._draw.random())  # the kubelet looks once a second: meet it at any moment
        document = subject.document(name, self.image)
        began = time.monotonic()
        self._api.apply(subject.path, document)
        sighting = self._watches[subject.path].ready(name, within_s=READY_S)
        pods = self._watches[PODS].of(name)
        if len(pods) != 1 or pods[0].ready is None:
            raise Failed(f"{subject.title} {name} is Ready and has {len(pods)} Pods, expected one that is Ready")
        assert sighting.ready is not None
        into.ready.append((sighting.ready - began) * 1000)
        into.pod_made.append((pods[0].seen - began) * 1000)
        into.pod_ready.append((pods[0].ready - began) * 1000)
        if subject is OURS:
            self.image = _image_of(pods[0].newest)
        self._api.delete(f"{subject.path}/{name}", grace_s=GRACE_S)
        self._watches[subject.path].gone(name, within_s=GONE_S)
        self._watches[PODS].gone(name, within_s=GONE_S)


@contextlib.contextmanager
def _namespace(kubectl: Kubectl) -> Iterator[None]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    try:
        yield
    finally:
        kubectl.run("delete", "namespace", NAMESPACE, "--timeout=90s", check=False)


def _image_of(pod: dict[str, Any]) -> str:
    """What an Agent runs that names no image: the peers run the same."""
    return next(str(each["image"]) for each in pod["spec"]["containers"] if each["name"] == "agent")


def _print(bench: Bench, *, rounds: int) -> None:
    told = {subject.name: _summary(bench.seen[subject.name], bench.seen[BARE.name]) for subject in bench.chosen}
    rows = [
        [subject.title, *(f"{told[subject.name][key]:.0f}" for key in ("ready_p50_ms", "ready_p90_ms", "pod_made_p50_ms", "pod_ready_p50_ms")),
         f"{told[subject.name]['ratio_to_bare']:.2f}", "{:.2f} ({:.2f}-{:.2f})".format(*told[subject.name]["paired_ratio"])]
        for subject in bench.chosen
    ]  # fmt: skip
    print(
        report.table(["apply to Ready, ms", "p50", "p90", "Pod made", "Pod ready", "p50 / bare", "paired (95 %)"], rows)
    )
    compared = statistics.paired(bench.seen[OURS.name].ready, bench.seen[BARE.name].ready)
    notes = [
        f"round by round, {compared.sentence('an Agent', 'a bare Pod')}; {rounds} rounds",
        "Ready is the object's own condition: of an Agent, that gateway and agent both serve; of a bare Pod, that its container runs",
        f"all run the image {bench.image} with the same program and resources",
    ]
    if SANDBOX in bench.chosen:
        notes.append(
            f"agent-sandbox {peer.version()}, built from its Go module, with the arguments of its own manifest"
        )
    if bench.restless:
        notes.append(
            f"before {bench.restless} of {rounds * len(bench.chosen)} starts the machine was not at rest: something else ran on it"
        )
    peers = {name: each for name, each in told.items() if name != OURS.name}
    report.finish("agent_start", figures=told[OURS.name], peers=peers, targets=TARGETS, notes=notes)


def _summary(seen: Seen, bare: Seen) -> dict[str, Any]:
    return {
        "ready_p50_ms": statistics.median(seen.ready),
        "ready_p90_ms": statistics.percentile(seen.ready, 0.9),
        "pod_made_p50_ms": statistics.median(seen.pod_made),
        "pod_ready_p50_ms": statistics.median(seen.pod_ready),
        "ratio_to_bare": statistics.median(seen.ready) / statistics.median(bare.ready),
        "paired_ratio": statistics.paired(seen.ready, bare.ready),
        "starts": len(seen.ready),
    }
