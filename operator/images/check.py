"""The last step of a process image's build: does the image hold its process, and nothing that it must not?

PROCESS is the package, ABSENT what must not be importable. It stays in the image (/opt/check.py), where whoever received the
image may run it again. It must never import anything but what it checks.
"""

import importlib
import importlib.util
import os
import sys

process = os.environ["PROCESS"]


def importable(name: str) -> bool:
    """Whether this image could import `name`."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent package is absent as well
        return False


if found := [name for name in os.environ["ABSENT"].split(",") if importable(name)]:
    sys.exit(f"{process}: the image must not hold {', '.join(found)}")
importlib.import_module(f"{process}.__main__")
