"""What is asked of a model, in the two forms in which agents ask, and the grant by which the gateway lets it through.

Apart because every side gets the same question. The backend is cheap but not free, so that a budget is reserved and
settled with every call. It must never be a call that some check passes over.
"""

import json
from typing import Any

from overhead import syscall

from aion.api.grant import Backend, Grant, Limits, ModelRoute

MODEL = "bench"
CHAT = "/v1/chat/completions"
SYSCALL = "/v1/syscall/model.generate"
MAX_TOKENS = 256
MESSAGES = [
    {"role": "system", "content": "You answer in one sentence."},
    {"role": "user", "content": "What is the capital of Norway, and why does it have two names in its history?"},
]


def body(path: str, *, stream: bool) -> bytes:
    """The question as this path takes it."""
    asked: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "max_tokens": MAX_TOKENS, "temperature": 0.2}
    if stream:
        asked["stream"] = True
    if path != SYSCALL:
        return json.dumps(asked).encode()
    document = {"schema": "aion.syscall.v1", "syscall": "model.generate", "agent_id": syscall.AGENT, "params": asked}
    return json.dumps(document).encode()


def grant(backend: str) -> Grant:
    """What the agent may do; `backend` is the model server's address."""
    served = Backend(name="bench", kind="openai", url=f"http://{backend}/v1", price_in=50_000, price_out=200_000)
    return Grant(
        agent_id=syscall.AGENT,
        tenant=syscall.TENANT,
        name="researcher",
        version="1.0.0",
        syscalls=("model.generate",),
        models=(ModelRoute(model=MODEL, backends=(served.name,)),),
        backends=(served,),
        limits=Limits(max_concurrency=1024),
        budget_micro_usd=10**12,
        policy_revision=1,
    )
