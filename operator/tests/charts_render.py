"""The chart as Helm renders it, of the binaries of the local cluster."""

import os
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

CHART = Path(__file__).resolve().parents[2] / "charts/aion-os"
NAMESPACE = "aion-system"
BOUND = ("scope=Namespaced", "watchNamespaces={tenant-a,tenant-b}")
"""The values of a namespaced installation."""

EVERYTHING = (
    "monitoring.serviceMonitor.enabled=true",
    "monitoring.podMonitor.enabled=true",
    "redis.persistence.enabled=true",
    "search.url=http://search.example.com",
)


def template(*values, namespace=NAMESPACE):
    """What `helm template` answers: the finished process."""
    helm = Path(os.environ.get("AION_CACHE", "~/.cache/aion-os")).expanduser() / "bin/current/helm"
    if not os.access(helm, os.X_OK):
        pytest.fail(f"no executable at {helm}: run `e2e/cluster up` once", pytrace=False)
    argv = [str(helm), "template", "aion", str(CHART), "-n", namespace, "--kube-version", "1.34.0"]
    argv += [word for value in values for word in ("--set", value)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@cache
def text(*values, namespace=NAMESPACE):
    """The whole output."""
    done = template(*values, namespace=namespace)
    assert done.returncode == 0, done.stderr
    return done.stdout


def documents(*values, namespace=NAMESPACE):
    """Every object."""
    return [each for each in yaml.safe_load_all(text(*values, namespace=namespace)) if each]


def of(kind, *values):
    """Every object of the kind."""
    return [each for each in documents(*values) if each["kind"] == kind]
