"""The command line: six verbs, five of them the same for both providers.

It parses, chooses the provider and prints. It must never know how a cluster is made.
"""

import argparse
import json
import sys
from pathlib import Path

from clusters import choice, settings
from clusters.failure import Failed
from clusters.native import build
from clusters.native.layout import Layout
from clusters.progress import Progress
from clusters.provider import Provider

GUIDE = """\
e2e/cluster up                     start it, or mend it; harmless when it runs (under 3 s)
e2e/cluster load IMAGE             give it an image: a name in buildah's (docker's) storage, or a tar archive
e2e/cluster kubeconfig             print the path: export KUBECONFIG=$(e2e/cluster kubeconfig)
e2e/cluster status [-o json]       what runs, as which process, and which log belongs to it
e2e/cluster down                   stop and remove everything; the built binaries stay cached
e2e/cluster binaries               build what the native cluster is made of and print the folder; needs no root

There is no registry: a Pod gets what was loaded, so set imagePullPolicy to IfNotPresent or Never.
No kubectl on the machine? `export PATH="$PATH:$(e2e/cluster status -o json | jq -r .bin)"` has kubectl and helm.
Something is wrong? `status` names the logs; `up` again mends what it can; `down`, then `up` starts from nothing.

environment:
"""


def main(argv: list[str]) -> int:
    """Run one verb. Returns the exit status: 0 done, 1 failed (the reason is on stderr)."""
    asked = _parser().parse_args(argv)
    try:
        found = settings.read()
        return _VERBS[asked.verb](choice.provider(found), asked)
    except Failed as failure:
        print(failure.report(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; `e2e/cluster up` goes on from here, `e2e/cluster down` removes it", file=sys.stderr)
        return 130


def _up(cluster: Provider, _) -> int:
    cluster.up()
    return 0


def _down(cluster: Provider, _) -> int:
    cluster.down()
    return 0


def _load(cluster: Provider, asked) -> int:
    for image in asked.image:
        print(cluster.load(image), file=sys.stderr)
    return 0


def _kubeconfig(cluster: Provider, _) -> int:
    path = Path(cluster.status()["kubeconfig"])
    if not path.exists():
        raise Failed(f"there is no cluster: {path} does not exist", remedy="e2e/cluster up")
    print(path)
    return 0


def _status(cluster: Provider, asked) -> int:
    status = cluster.status()
    if asked.output == "json":
        print(json.dumps(status, indent=2))
        return 0
    print(f"{status['provider']} cluster: {'running' if status['running'] else 'not running'}")
    for key in ("kubeconfig", "kubeletRoot", "nodeIP", "bin"):
        print(f"  {key:<12} {status[key] or '-'}")
    for name, part in status["components"].items():
        print(f"  {name:<24} {'alive' if part['alive'] else 'DEAD ':<6} pid {part['pid']:<8} {part['log']}")
    return 0


def _binaries(_: Provider, _asked) -> int:
    """For tests that start an API server of their own, also where the cluster is kind's."""
    progress = Progress(1)
    with progress.stage("binaries"):
        print(build.ensure(Layout(settings.read()), say=progress.say))
    return 0


_VERBS = {"binaries": _binaries, "up": _up, "down": _down, "load": _load, "kubeconfig": _kubeconfig, "status": _status}


def _parser() -> argparse.ArgumentParser:
    table = "\n".join(line for line in (settings.__doc__ or "").splitlines() if line.startswith("AION_"))
    parser = argparse.ArgumentParser(
        prog="e2e/cluster",
        description="A real single-node Kubernetes 1.34 on this machine: by kind where a container engine answers, else native.",
        epilog=GUIDE + table,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(
        dest="verb", required=True, metavar="up | down | status | load | kubeconfig | binaries"
    )
    verbs.add_parser("up", help="start the cluster, or mend it")
    verbs.add_parser("down", help="stop it and leave nothing behind")
    status = verbs.add_parser("status", help="say what runs and where its logs are")
    status.add_argument("-o", "--output", choices=["text", "json"], default="text")
    load = verbs.add_parser("load", help="load images into the cluster; skips what is there already")
    load.add_argument("image", nargs="+", metavar="IMAGE", help="a local image's name, or a docker/OCI archive (tar)")
    verbs.add_parser("kubeconfig", help="print the path of the kubeconfig")
    verbs.add_parser("binaries", help="build Kubernetes' own binaries without starting anything")
    return parser
