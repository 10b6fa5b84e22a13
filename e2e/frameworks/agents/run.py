"""What stands around an author's agent in these scenarios: one question, its answer or its refusal, printed; then it waits.

It must never catch a refusal before the framework had it: what is printed is what the framework raised.
"""

import importlib
import json
import os
import signal
import sys
import time

QUESTION = "seven words are in this very sentence"


def say(what, **fields):
    print("@" + json.dumps({"what": what, **fields}), flush=True)


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # first: process 1 ignores what it has no handler for
began = time.monotonic()
agent = importlib.import_module(sys.argv[1])
say("imported", seconds=round(time.monotonic() - began, 2))
began = time.monotonic()
try:
    say("answer", text=agent.main(QUESTION), seconds=round(time.monotonic() - began, 2))
except Exception as error:  # noqa: BLE001 - whatever the framework raises is what is shown
    say("refused", type=type(error).__name__, status=getattr(error, "status_code", None), message=str(error))
say("done")
while True:
    signal.pause()
