"""The real kernel as a process."""

import asyncio
import base64
import contextlib
import os
import sys

from kernel_apiserver import TOKEN
from kernel_scene import SECRET, free_port


def keys():
    metadata = {"name": "aion-tenant-keys", "namespace": "team"}
    data = {"default": base64.b64encode(SECRET).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


@contextlib.asynccontextmanager
async def process(folder, *, said=asyncio.subprocess.PIPE, **environment):
    """`said` is where its output goes: into a pipe that nobody reads, only a little."""
    (folder / "token").write_text(TOKEN)
    port = free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith("AION_")} | {
        "AION_HOST": "127.0.0.1",
        "AION_PORT": str(port),
        "AION_KUBE_TOKEN_FILE": str(folder / "token"),
        "AION_KUBE_CA_FILE": "",
        **environment,
    }
    made = await asyncio.create_subprocess_exec(sys.executable, "-m", "aion.kernel", env=env, stdout=said, stderr=said)
    try:
        yield made, f"http://127.0.0.1:{port}"
    finally:
        if made.returncode is None:
            made.kill()
        await made.communicate()
