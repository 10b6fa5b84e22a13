# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["httptools==0.9.0", "litellm[proxy]==1.108.0"]
# ///
"""LiteLLM's proxy before one OpenAI-compatible backend: a peer of the benchmark `model`.

It stands apart from the project with an environment of its own (the lock beside this file): a gateway that holds keys keeps
its dependencies few, and none of these is among them. It runs as its documentation says for one process, on uvloop and
httptools, with its log silenced, its database absent, and neither callbacks nor caches.

    app.py BACKEND_URL FOLDER     serves on a free port of 127.0.0.1, and prints its address once it answers
"""

import json
import os
import socket
import sys
from pathlib import Path

BACKEND, FOLDER = sys.argv[1], Path(sys.argv[2])
MODEL = "bench"

CONFIG = {
    "model_list": [
        {
            "model_name": MODEL,
            "litellm_params": {"model": f"openai/{MODEL}", "api_base": f"{BACKEND}/v1", "api_key": "sk-bench"},
        }
    ],
    "litellm_settings": {"telemetry": False, "num_retries": 0, "request_timeout": 600},
    "general_settings": {"disable_spend_logs": True},
}


def main() -> None:
    """Serve until killed."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what it prints while it starts is no address
    file = FOLDER / "litellm.yaml"
    file.write_text(json.dumps(CONFIG))  # JSON is YAML
    os.environ |= {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "CONFIG_FILE_PATH": str(file)}
    os.environ |= {"LITELLM_MODE": "PRODUCTION", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}

    import uvicorn
    from litellm.proxy.proxy_server import app

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            print(f"127.0.0.1:{listening.getsockname()[1]}", file=told, flush=True)

    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    config = uvicorn.Config(app, log_level="error", access_log=False, loop="uvloop", http="httptools")
    Announced(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
