"""People at a real kernel with tokens of a real OpenID provider: `e2e/oidc/people` starts both and prints what each may do.

The kernel is the assembled one on loopback, over a cluster in memory. It ends with 1 where somebody may more or less than
their groups say, also after the provider has turned its keys over.
"""

import asyncio
import os
import signal
import sys
import time

import aiohttp

from aion.kernel import app, oidc, testing
from aion.kernel.jwks import AGAIN_S
from aion.kernel.memorystore import MemoryStore
from aion.kernel.tenantkeys import FixedKeys

EXPECTED = {"lead": (200, 200, ["team", "rivals"]), "reader": (200, 403, ["team"]), "stranger": (403, 403, [])}
"""Agents of one's own choice, agents of tenant rivals, and the tenants seen."""


async def token(session, issuer, client):
    asked = {"grant_type": "client_credentials", "resource": "urn:aion"}
    proof = {"Authorization": aiohttp.encode_basic_auth(client, "secret")}
    async with session.post(f"{issuer}/token", data=asked, headers=proof) as answer:
        return (await answer.json())["access_token"]


async def agents(session, url, token, query=""):
    async with session.get(f"{url}/v1/agents{query}", headers={"Authorization": f"Bearer {token}"}) as answer:
        said = await answer.json()
        return answer.status, sorted({each["tenant"] for each in said.get("agents", [])}, reverse=True)


async def looked(session, url, issuer, when):
    right = True
    for client, expected in EXPECTED.items():
        bearer = await token(session, issuer, client)
        own, tenants = await agents(session, url, bearer)
        other, _ = await agents(session, url, bearer, "?tenant=rivals")
        right &= (own, other, tenants) == expected
        print(f"{when:>16} {client:>9}: agents {own} of {', '.join(tenants) or 'none'}; of rivals {other}")
    return right


async def main(port, provider):
    issuer = f"http://127.0.0.1:{port}"
    cluster, bundle = testing.FakeCluster(), testing.bundle()
    for each in (testing.agent("team", "a"), testing.agent("rivals", "b"), testing.bundle_map(bundle)):
        cluster.put(each)
    cluster.put(testing.pointer(bundle, revision=1))
    roles = (
        oidc.Mapped(group="platform", role="operator", tenant="*"),
        oidc.Mapped(group="team", role="observer", tenant="team"),
    )
    given = oidc.Oidc(issuer=issuer, audience="aion-os", roles=roles)
    kernel = app.assemble(store=MemoryStore(time.monotonic), keys=FixedKeys({}), cluster=cluster, oidc=given)
    async with testing.started(kernel) as url, aiohttp.ClientSession() as session:
        await kernel.grants.wait_ready()
        right = await looked(session, url, issuer, "at first")
        old = await token(session, issuer, "lead")
        os.kill(provider, signal.SIGHUP)
        await asyncio.sleep(AGAIN_S + 0.5)
        right &= await looked(session, url, issuer, "new keys")
        status, _ = await agents(session, url, old)
        print(f"{'a token of before':>27}: agents {status}")
        right &= status == 401
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], int(sys.argv[2]))))
