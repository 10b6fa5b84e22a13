"""The audit read back: in pages, by what is asked, and by whom."""

import json

import pytest
from kernel_scene import ID, scene
from test_kernel_routes import WHO, bearer

from aion.api import auditchain, auditcheck, channel
from aion.kernel import audits, drafts


async def filled(stage, count=25, *, chain="u1@1", tenant="team"):
    prev, rows = chain, []
    for n in range(1, count + 1):
        line = auditchain.canonical(
            channel.AuditRecord(
                n=n, prev=prev, ts_ms=n, audit_id=f"{tenant}-{n}", tenant=tenant, agent=f"agent://{tenant}/a",
                syscall="tool.invoke", decision="deny" if n % 5 == 0 else "allow",
            )
        )  # fmt: skip
        prev = auditchain.digest(line)
        rows.append(drafts.of_audit(line, chain=chain))
    broken = drafts.of_break(chain=chain, tenant=tenant, agent=ID, now_ms=1)
    await stage.store.record(chain, rows, broken=broken)


async def pages(stage, query="", **who):
    """Every record by as many requests as it takes, and how many that were."""
    found, at, asked = [], 0, 0
    while at is not None:
        status, page = await stage.outsider.ask("GET", f"/v1/audit?since={at}{query}", **(who or WHO))
        assert status == 200, page
        found += page["records"]
        at, asked = page["next"], asked + 1
    return found, asked


async def test_every_record_comes_once_and_in_order_however_short_the_pages_are():
    async with scene() as stage:
        await filled(stage)
        await filled(stage, 5, chain="u2@1", tenant="rivals")
        for limit in (1, 7, 25, 1000):
            found, _ = await pages(stage, f"&limit={limit}")
            assert [row["n"] for row in found] == list(range(1, 26))
        assert auditcheck.check(enumerate(found, 1)).whole


async def test_a_rare_record_is_found_though_one_request_looks_at_few_rows(monkeypatch):
    monkeypatch.setattr(audits, "SCANNED", 4)
    async with scene() as stage:
        await filled(stage)
        found, asked = await pages(stage, "&decision=deny")
        assert ([row["n"] for row in found], asked) == ([5, 10, 15, 20, 25], 7)


async def test_an_operator_sees_all_tenants_or_one_and_everybody_else_their_own():
    async with scene() as stage:
        await filled(stage, 3)
        await filled(stage, 2, chain="u2@1", tenant="rivals")
        watcher = {"headers": bearer(stage, "jane", "/v1/audit")}
        assert len((await pages(stage, **watcher))[0]) == 5
        assert len((await pages(stage, "&tenant=rivals", **watcher))[0]) == 2
        _, every = await stage.outsider.ask("GET", "/v1/audit/chains", **watcher)
        assert {(head["chain"], head["tenant"], head["n"]) for head in every["chains"]} >= {
            ("u1@1", "team", 3),
            ("u2@1", "rivals", 2),
        }
        _, own = await stage.outsider.ask("GET", "/v1/audit/chains", **WHO)
        assert [head["chain"] for head in own["chains"]] == ["u1@1"]
        assert (await stage.outsider.ask("GET", "/v1/audit?tenant=rivals", **WHO))[0] == 403
        assert (await stage.outsider.ask("GET", "/v1/audit", headers={}))[0] == 401


async def test_the_newest_are_given_oldest_first():
    async with scene() as stage:
        await filled(stage)
        _, page = await stage.outsider.ask("GET", "/v1/audit?newest=3&decision=allow", **WHO)
        assert ([row["n"] for row in page["records"]], page["next"]) == ([22, 23, 24], None)


@pytest.mark.parametrize("query", ["since=x", "limit=-", "colour=red", "decision=perhaps", "code=E_X"])
async def test_a_question_that_cannot_be_read_is_refused(query):
    async with scene() as stage:
        status, answer = await stage.outsider.ask("GET", f"/v1/audit?{query}", **WHO)
        assert (status, answer["error"]["code"]) == (400, "E_BAD_REQUEST")


async def test_a_store_that_is_away_is_said_and_not_shown_as_an_empty_audit():
    async with scene() as stage:
        headers = bearer(stage, "jane", "/v1/audit")
        stage.store.down = True
        status, answer = await stage.outsider.ask("GET", "/v1/audit", headers=headers)
        assert (status, json.dumps(answer).count("E_UNAVAILABLE")) == (503, 1)
