"""An MCP server on stdin and stdout by the standard library alone, which misbehaves as its first argument says."""

import json
import os
import sys
import time

MODE = sys.argv[1] if len(sys.argv) > 1 else "legacy"
NAMES = sys.argv[2].split(",") if len(sys.argv) > 2 else ["echo", "other"]


def say(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def call(ident, params):
    arguments = params["arguments"]
    if arguments.get("do") == "die":
        sys.stderr.write("I am dying\n")
        sys.stderr.flush()
        os._exit(3)
    if arguments.get("do") == "wait":
        return  # nothing, for ever
    if arguments.get("do") == "hang":
        time.sleep(600)
    if arguments.get("do") == "deafen":
        say({"id": ident, "result": {"content": []}})
        time.sleep(600)
    if arguments.get("do") == "fail":
        say({"id": ident, "result": {"content": [{"type": "text", "text": "no such city"}], "isError": True}})
    elif arguments.get("do") == "refuse":
        say({"id": ident, "error": {"code": -32602, "message": "bad arguments"}})
    elif arguments.get("do") == "ask":
        say({"id": "s1", "method": "sampling/createMessage", "params": {}})
        answer = json.loads(sys.stdin.readline())
        say({"id": ident, "result": {"content": [], "structuredContent": answer}})
    elif arguments.get("do") == "flood":
        sys.stdout.write("x" * 3_000_000)
        sys.stdout.flush()
    elif arguments.get("do") == "strange":
        say({"id": ident, "result": {"resultType": "input_required", "inputRequests": {}}})
    else:
        said = {"tool": params["name"], "arguments": arguments, "pid": os.getpid(), "cancelled": CANCELLED}
        say({"id": ident, "result": {"content": [{"type": "text", "text": "hi"}], "structuredContent": said}})


CANCELLED = []
if MODE == "broken":
    sys.stderr.write("no such library\n")
    sys.exit(1)
if MODE == "children" and os.fork() == 0:
    os.close(os.open(f"child-{os.getpid()}", os.O_CREAT))
    time.sleep(600)
print("a banner where none belongs", flush=True)
for line in sys.stdin:
    message = json.loads(line)
    method, ident, params = message.get("method"), message.get("id"), message.get("params") or {}
    if method == "notifications/cancelled":
        CANCELLED.append(params["requestId"])
    if ident is None:
        continue
    meta = params.get("_meta") or {}
    modern = meta.get("io.modelcontextprotocol/protocolVersion") == "2026-07-28"
    if MODE == "modern" and not modern:
        say({"id": ident, "error": {"code": -32601, "message": "Method not found: use 2026-07-28"}})
    elif method == "initialize":
        say({"id": ident, "result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {}}})
    elif method == "tools/list":
        if "cursor" in params or len(NAMES) == 1:
            say({"id": ident, "result": {"tools": [{"name": name, "inputSchema": {}} for name in NAMES[-1:]]}})
        else:
            tools = [{"name": name, "inputSchema": {}} for name in NAMES[:-1]]
            say({"id": ident, "result": {"tools": tools, "nextCursor": "2"}})
    elif method == "tools/call":
        call(ident, params)
    elif method in ("ping", "server/discover"):
        say({"id": ident, "result": {}})
