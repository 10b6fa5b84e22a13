"""An agent without `network` gets nothing from the network, whatever it tries, and the denial says by which rule."""

import socket

from installation.tenancy import Tenancy

TRY = """
def attempt(what, call):
    try:
        say(what, outcome="ok", result=str(call()))
    except errors.SyscallError as error:
        say(what, outcome=error.code, rule=error.rule, message=str(error))
    except OSError as error:
        say(what, outcome=type(error).__name__, errno=error.errno)

def raw(name, **fields):
    class Socket(http.client.HTTPConnection):
        def connect(self):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(os.environ["AION_GATEWAY_SOCKET"])
    connection = Socket("gw")
    connection.request("POST", "/v1/syscall/" + name, json.dumps({"schema": "aion.syscall.v1", "syscall": name, **fields}))
    answer = connection.getresponse()
    document = json.load(answer)
    error = document.get("error") or {}
    say(fields.pop("what", name), outcome=error.get("code", "ok"), status=answer.status, rule=error.get("rule"))

search = {"tool": "web_search", "query": "x"}
attempt("tool", lambda: agent.syscall("tool.invoke", search))
attempt("fetch", lambda: agent.syscall("net.fetch", {"url": "http://search.aion-search.svc:8080/search?q=x&format=json"}))
attempt("lies", lambda: agent.syscall("tool.invoke", search, caps_required=["network"]))
attempt("denies", lambda: agent.syscall("tool.invoke", search, caps_required=[]))
raw("tool.invoke", agent_id=agent.agent_id, params=search)
raw("tool.invoke", agent_id=f"agent://{agent.tenant}/connected", params=search)
raw("net.fetch", agent_id="agent://elsewhere/connected", params={"url": "http://example.org/"})
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET):
    attempt(f"socket {family}", lambda: socket.socket(family, socket.SOCK_STREAM))
attempt("connect to the tool's service", lambda: socket.create_connection(("TOOL_ADDRESS", 8020), timeout=5))
attempt("connect by a name", lambda: socket.create_connection(("example.org", 80), timeout=5))
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.syscall(41 if os.uname().machine == "x86_64" else 198, ctypes.c_long(int(socket.AF_INET) | 1 << 32), 1, 0)
say("truncated by the kernel", outcome="ok" if fd >= 0 else "OSError", errno=ctypes.get_errno())
"""

RULE = "capabilities.network@rev{revision}: agent.spec.capabilities.network: false"


def test_capability_network_cannot_be_had_by_any_way(tenant: Tenancy):
    tenant.sample("web-search")
    connected = {"network": True, "syscalls": ["tool.invoke"]}
    tenant.agent(
        "connected",
        'say("asked", items=len(agent.syscall("tool.invoke", {"tool": "web_search", "query": "x"})["items"]))',
        capabilities=connected,
    )
    address = tenant.get("service/tool-web-search")["spec"]["clusterIP"]
    hostile = TRY.replace("TOOL_ADDRESS", address)
    without = {"network": False, "syscalls": ["*"]}
    tenant.agent("sealed", hostile, capabilities=without, podTemplate={"tunnel": False})
    tenant.agent("tunnelled", hostile, capabilities=without)
    tenant.wait("agent/sealed", "agent/tunnelled", "agent/connected")
    tenant.said("connected", until="asked")
    for name in ("sealed", "tunnelled"):
        every_syscall_is_denied(tenant, name)
    nothing = ("PermissionError", "OSError")
    sockets = attempts(tenant, "sealed", "socket", "connect", "truncated")
    assert len(sockets) == 7
    assert all(each["outcome"] in (*nothing, "gaierror") for each in sockets), sockets
    # With the tunnel a socket is an unbound way to the gateway, which lets it lead nowhere.
    ways = attempts(
        tenant, "tunnelled", "connect", "truncated", f"socket {socket.AF_NETLINK}", f"socket {socket.AF_PACKET}"
    )
    assert len(ways) == 5
    assert all(each["outcome"] in nothing for each in ways), ways


def every_syscall_is_denied(tenant: Tenancy, name: str):
    said = {each["what"]: each for each in tenant.said(name) if each["what"] not in ("tool.invoke", "net.fetch")}
    revision = tenant.get(f"agent/{name}")["status"]["effectivePolicy"]["revision"]
    for what in ("tool", "fetch", "lies", "denies"):
        assert said[what]["outcome"] == "E_CAPABILITY", said[what]
        assert said[what]["rule"] == RULE.format(revision=revision)
    others = [each for each in tenant.said(name) if each["what"] in ("tool.invoke", "net.fetch")]
    assert [(each["outcome"], each["status"]) for each in others] == [
        ("E_CAPABILITY", 403),
        ("E_POLICY", 403),
        ("E_TENANT", 403),
    ]


def attempts(tenant: Tenancy, name: str, *prefixes: str):
    return [each for each in tenant.said(name) if each["what"].startswith(prefixes)]
