"""Call one Python function for one tool call: `python3 pytool.py MODULE FUNCTION`, JSON on stdin, JSON on stdout.

It stands apart because it runs in the tool's container, beside the tool's own code and without ours: standard
library only, one file. It must never let what the tool prints reach stdout, which carries the answer alone.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any


def refusal(code: str, message: str) -> dict[str, Any]:
    """Shape an error as every engine's tools do."""
    return {"error": {"code": code, "message": message}}


def call(function: Callable[..., Any], params: dict[str, Any], config: dict[str, str]) -> dict[str, Any]:
    """Call `function` in the way its signature asks for, and shape what it returns or raises."""
    signature = inspect.signature(function)
    whole = list(signature.parameters) == ["params", "config"]
    try:
        bound = signature.bind(params, config) if whole else signature.bind(**params)
    except TypeError as bad:
        return refusal("E_PARAMS", str(bad))
    try:
        return {"result": function(*bound.args, **bound.kwargs)}
    except ValueError as bad:
        traceback.print_exc()
        return refusal("E_PARAMS", str(bad))
    except Exception as bad:  # noqa: BLE001 - whatever the tool raises is the call's answer
        traceback.print_exc()
        return refusal("E_UPSTREAM", f"{type(bad).__name__}: {bad}")


def main(module: str, name: str) -> int:
    """Answer the one call on stdin; 0 when the tool returned, 1 when it did not."""
    with contextlib.redirect_stdout(sys.stderr):
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - pathlib would cost 5 ms of every call
        try:
            function = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as bad:
            answer = refusal("E_UPSTREAM", f"the tool {module}:{name} cannot be loaded: {bad}")
        else:
            document = json.load(sys.stdin)
            answer = call(function, document.get("params") or {}, document.get("config") or {})
        try:
            text = json.dumps(answer, allow_nan=False)
        except (TypeError, ValueError) as bad:
            answer = refusal("E_UPSTREAM", f"the tool's result is not JSON: {bad}")
            text = json.dumps(answer)
    sys.stdout.write(text)
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
