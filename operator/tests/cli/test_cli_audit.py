"""`aionctl audit` against a real kernel, and over files."""

import asyncio
import contextlib
import json

import pytest
from typer.testing import CliRunner

from aion.api import auditchain, channel, event
from aion.cli import audit, main
from aion.kernel import app, drafts, testing
from aion.kernel.grants import Policy
from aion.kernel.memorystore import MemoryStore
from aion.kernel.tenantkeys import FixedKeys

SECRET = "0123456789abcdef0123456789abcdef"
ENV = {"AION_TENANT": "team", "AION_SECRET": SECRET, "AION_TOKEN": "", "AION_KERNEL_URL": "", "COLUMNS": "200"}
CHAIN = "uid-1@5"
T0 = 1_760_000_000_000


def records(count, *, chain=CHAIN, tenant="team"):
    lines, prev = [], chain
    for n in range(1, count + 1):
        denied = n % 3 == 0
        line = auditchain.canonical(
            channel.AuditRecord(
                n=n,
                prev=prev,
                ts_ms=T0 + n * 60_000,
                audit_id=f"sc-{tenant}-{n}",
                tenant=tenant,
                agent=f"agent://{tenant}/a",
                syscall="net.fetch" if denied else "tool.invoke",
                decision="deny" if denied else "allow",
                code="E_POLICY" if denied else "",
                subject="search",
                latency_ms=1.5,
                micro_usd=n * 1000,
            )
        )
        prev = auditchain.digest(line)
        lines.append(line)
    return lines


async def keep(store, lines, *, chain=CHAIN, tenant="team"):
    broken = drafts.of_break(chain=chain, tenant=tenant, agent="agent://team/a", now_ms=T0)
    await store.record(chain, [drafts.of_audit(line, chain=chain) for line in lines], broken=broken)


@contextlib.asynccontextmanager
async def kernel(count=9):
    store = MemoryStore(asyncio.get_running_loop().time)
    made = app.assemble(
        store=store,
        keys=FixedKeys({"team": {"default": SECRET.encode()}}),
        policy=Policy.of(testing.bundle(), revision=1),
    )
    await keep(store, records(count))
    await keep(store, records(4, chain="uid-2@5", tenant="rivals"), chain="uid-2@5", tenant="rivals")
    async with testing.started(made) as url:
        yield url, store


def run(*args, **env):
    return CliRunner().invoke(main.app, ["audit", *args], env=ENV | env, catch_exceptions=False)


async def ask(url, *args, **env):
    return await asyncio.to_thread(run, *args, "--kernel", url, **env)


@pytest.fixture
def exported(tmp_path):
    """Nine records as grep --json writes them."""
    path = tmp_path / "audit.jsonl"
    rows = [json.loads(drafts.of_audit(line, chain=CHAIN).body) for line in records(9)]
    path.write_text("".join(json.dumps({"seq": at, **row}) + "\n" for at, row in enumerate(rows, 1)))
    return path


def rewritten(path, change):
    lines = path.read_text().splitlines(keepends=True)
    change(lines)
    path.write_text("".join(lines))


async def test_a_tenants_whole_trail_is_verified_from_the_kernel_and_no_other_tenants_is_read():
    async with kernel() as (url, _):
        done = await ask(url, "verify")
    assert (done.exit_code, done.output) == (0, "9 records in 1 chains: whole\n")


async def test_what_the_store_lost_or_changed_is_found_by_asking_the_kernel():
    async with kernel() as (url, store):
        rows = store._audit
        rows[1] = event_changed(rows[1])
        del rows[6]
        done = await ask(url, "verify")
        assert done.exit_code == 1
        assert f"CHANGED  {CHAIN}: record 2 was changed" in done.output
        assert f"MISSING  {CHAIN}: record 7 is missing between 6 and 8" in done.output
        del rows[7]
        found = json.loads((await ask(url, "verify", "--json")).output)
        assert [(each["what"], each["n"]) for each in found["breaks"]] == [
            ("missing", 9),
            ("changed", 2),
            ("missing", 7),
        ]


def event_changed(row):
    return type(row)(row.seq, row.topic, row.tenant, row.body.replace(b"search", b"hidden"))


async def test_a_break_that_the_kernel_saw_is_told_by_verify_and_tail():
    async with kernel() as (url, store):
        await keep(store, records(12)[10:])
        done = await ask(url, "verify")
        assert done.exit_code == 1
        assert "the kernel never had the records between 9 and 11" in done.output
        assert f"!! the chain {CHAIN} broke at record 11: gap" in (await ask(url, "tail")).output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines.__setitem__(4, lines[4].replace("search", "other")), "record 5 was changed"),
        (
            lambda lines: lines.__setitem__(4, lines[4].replace('"decision": "allow"', '"decision": "deny"')),
            "record 5 was changed",
        ),
        (lambda lines: lines.pop(4), "record 5 is missing between 4 and 6 (line 5)"),
        (lambda lines: lines.__delitem__(slice(2, 6)), "records 3 to 6 are missing between 2 and 7 (line 3)"),
        (lambda lines: lines.insert(2, lines.pop(5)), "record 3 stands after record 6"),
        (lambda lines: lines.append(lines[4]), "record 5 is here twice, first at 5 (line 10)"),
    ],
)
def test_an_export_that_was_touched_does_not_verify(exported, change, said):
    assert run("verify", str(exported)).exit_code == 0
    rewritten(exported, change)
    done = run("verify", str(exported))
    assert done.exit_code == 1
    assert said in done.output
    assert "NOT whole" in done.output


def test_a_line_that_was_cut_in_the_middle_is_named_and_nothing_is_called_whole(exported):
    rewritten(exported, lambda lines: lines.__setitem__(4, lines[4][: len(lines[4]) // 2] + "\n"))
    done = run("verify", str(exported))
    assert (done.exit_code, "line 5 is not a JSON object" in done.output, "whole" in done.output) == (2, True, False)


def test_what_other_tools_make_of_the_lines_is_no_break(exported):
    rows = [json.loads(line) for line in exported.read_text().splitlines()]
    exported.write_text(
        "\n".join(json.dumps(dict(sorted(row.items())), indent=None, ensure_ascii=True) for row in rows)
    )
    assert run("verify", str(exported)).exit_code == 0


async def test_what_is_exported_from_a_kernel_verifies_when_it_is_piped_in():
    async with kernel() as (url, _):
        lines = (await ask(url, "grep", "--json")).output
    done = CliRunner().invoke(main.app, ["audit", "verify", "-"], input=lines, env=ENV)
    assert (done.exit_code, done.output) == (0, "9 records in 1 chains: whole\n")


@pytest.mark.parametrize(
    ("args", "found"),
    [
        ((), range(1, 10)),
        (("--decision", "deny"), (3, 6, 9)),
        (("--syscall", "tool.*", "--limit", "2"), (1, 2)),
        (("--code", "E_POLICY", "--agent", "a"), (3, 6, 9)),
        (("--since", event.timestamp(T0 + 8 * 60_000)), (8, 9)),
        (("--until", event.timestamp(T0 + 3 * 60_000), "--agent", "agent://team/a"), (1, 2)),
        (("--agent", "nobody"), ()),
        (("--since", "1s"), ()),
    ],
)
async def test_records_are_found_by_what_they_say_in_a_kernel_and_in_a_file(exported, args, found):
    async with kernel() as (url, _):
        asked = await ask(url, "grep", *args, "--json")
    for done in (asked, run("grep", str(exported), *args, "--json")):
        assert [json.loads(line)["n"] for line in done.output.splitlines()] == list(found)
        assert done.exit_code == (0 if found else 1)


def test_a_record_is_a_line_for_people_and_speaks_to_no_terminal(exported):
    rewritten(exported, lambda lines: lines.__setitem__(0, lines[0].replace("search", "\\u001b]0;owned")))
    said = run("grep", str(exported), "--limit", "3").output.splitlines()
    assert said[0].split() == ["TIME", "DECISION", "SYSCALL", "SUBJECT", "AGENT", "MS", "USD", "AUDIT-ID", "WHY"]
    assert said[3].split() == [
        "2025-10-09T08:56:20", "deny", "net.fetch", "search", "team/a", "1.5", "0.003", "sc-team-3", "E_POLICY",
    ]  # fmt: skip
    assert "\x1b" not in said[1]


async def test_the_newest_are_shown_and_then_what_happens():
    async with kernel() as (url, store):
        done = await ask(url, "tail", "-n", "2", "--json")
        assert [json.loads(line)["n"] for line in done.output.splitlines()] == [8, 9]
        asked, seen = audit.Kernel.of(url, ENV), []

        def follow():
            for row in asked.follow("/v1/events/stream", topics=event.SYSCALLS, since=9):
                seen.append(row["n"])
                if len(seen) == 3:
                    return

        following = asyncio.create_task(asyncio.to_thread(follow))
        await asyncio.sleep(0.05)
        await keep(store, records(12)[9:])
        await asyncio.wait_for(following, 5)
    assert seen == [10, 11, 12]


def test_who_cannot_ask_is_told_how():
    for env, said in (
        ({"AION_SECRET": ""}, "who asks? Set $AION_TOKEN"),
        ({"AION_KERNEL_URL": "http://127.0.0.1:1"}, "cannot be asked"),
        ({"AION_KERNEL_URL": "kernel:8010"}, "expected http(s)://host[:port]"),
    ):
        done = run("verify", **env)
        assert (done.exit_code, said in done.output) == (2, True)
        assert SECRET not in done.output


async def test_a_refusal_of_the_kernel_is_passed_on():
    async with kernel() as (url, _):
        for args, said in (
            (("grep", "--decision", "maybe"), "E_BAD_REQUEST: got decision='maybe'"),
            (("grep", "--tenant", "rivals"), "E_TENANT"),
            (("grep", "--code", "E_NONE"), "E_BAD_REQUEST: got code='E_NONE'"),
        ):
            done = await ask(url, *args)
            assert (done.exit_code, said in done.output) == (2, True)
        done = await ask(url, "verify", AION_SECRET="wrong")
        assert "E_SIGNATURE" in done.output


def test_a_time_that_is_none_is_refused(exported):
    done = run("grep", str(exported), "--since", "yesterday")
    assert (done.exit_code, "expected 90s" in done.output) == (2, True)
