"""`aionctl audit`: verify, search and follow the audit, of a kernel or of a file that was exported from one.

Only the command line and what is printed: `aion.api.auditcheck` concludes, `aion.api.auditquery` finds, `asking` asks. It
must never say that a trail is whole which it could not read to its end.
"""

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from aion.api import auditcheck, event, ids
from aion.api.auditquery import Query
from aion.cli.asking import HOW, Failed, Kernel

app = typer.Typer(
    name="audit",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=f"""The audit: one record a syscall, in a chain for each gateway.

{HOW}""",
)

AUDIT = "/v1/audit"
PAGE = 1000
BROKEN, UNREAD = 1, 2

_AGO = re.compile(r"(\d+)(s|m|h|d)")
_UNIT_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

KernelUrl = Annotated[str | None, typer.Option("--kernel", metavar="URL", help="The kernel's address.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, as the kernel keeps it.")]
File = Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A file of such lines, or - for what is piped in.")]
Tenant = Annotated[str | None, typer.Option(metavar="NAME", help="One tenant's.")]
Agent = Annotated[str, typer.Option(metavar="ID", help="One agent's: its id, or its name.")]
Syscall = Annotated[str, typer.Option(metavar="NAME", help="A syscall, or a pattern as memory.*")]
Decision = Annotated[str, typer.Option(metavar="allow|deny|error", help="What was decided.")]
Code = Annotated[str, typer.Option(metavar="CODE", help="An error's code, as E_POLICY.")]
Since = Annotated[str, typer.Option(metavar="TIME", help="Not before: 90s, 15m, 2h, 7d ago, or 2026-11-25T10:00:00Z.")]
Until = Annotated[str, typer.Option(metavar="TIME", help="Before, likewise.")]


@app.command()
def verify(file: File = None, *, kernel: KernelUrl = None, tenant: Tenant = None, as_json: Json = False) -> None:
    """Check that no record was changed, dropped, moved or doubled; exit 1 and say where, if one was.

    Without a file, what the kernel keeps is checked, up to the record that it says is each chain's newest.

    Example: aionctl audit verify

    Example: aionctl audit grep --json > audit.jsonl && aionctl audit verify audit.jsonl
    """
    try:
        if file is None:
            asked = Kernel.of(kernel)
            heads = {
                head["chain"]: auditcheck.Head(head["n"], head["digest"])
                for head in asked.get(AUDIT + "/chains")["chains"]
                if tenant in (None, head["tenant"])
            }
            report = auditcheck.check(enumerate(_pages(asked, tenant=tenant), 1), heads)
        else:
            report = auditcheck.check((at, json.loads(line)) for at, line in _lines(file))
    except Failed as failed:
        _leave(failed)
    if as_json:
        typer.echo(json.dumps({"whole": report.whole, "chains": report.chains, "records": report.records,
                               "breaks": [each._asdict() for each in report.breaks], "notes": report.notes}))  # fmt: skip
    else:
        for line in _said(report, of="line" if file else "row"):
            typer.echo(line)
    if not report.whole:
        raise typer.Exit(BROKEN)


@app.command()
def grep(
    file: File = None,
    *,
    tenant: Tenant = None,
    agent: Agent = "",
    syscall: Syscall = "",
    decision: Decision = "",
    code: Code = "",
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option(min=0, help="Records at most; 0: all.")] = 0,
    kernel: KernelUrl = None,
    as_json: Json = False,
) -> None:
    """Find records, oldest first; exit 1 where there is none.

    Example: aionctl audit grep --decision deny --since 1h
    """
    query = Query(
        tenant=tenant,
        agent=agent,
        syscall=syscall,
        decision=decision,
        code=code,
        from_ms=_ms(since, "--since"),
        to_ms=_ms(until, "--until"),
    )
    try:
        rows = _pages(Kernel.of(kernel), **_asked(query)) if file is None else _found(file, query)
        found = 0
        for row in rows:
            if not found and not as_json:
                typer.echo(_HEAD)
            _show(row, as_json=as_json)
            found += 1
            if found == limit:
                break
    except Failed as failed:
        _leave(failed)
    if not found:
        raise typer.Exit(BROKEN)


@app.command()
def tail(
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=PAGE, help="The newest so many.")] = 20,
    tenant: Tenant = None,
    agent: Agent = "",
    syscall: Syscall = "",
    decision: Decision = "",
    code: Code = "",
    kernel: KernelUrl = None,
    as_json: Json = False,
) -> None:
    """Show the newest records, and with -f what happens next.

    Example: aionctl audit tail -f --decision deny
    """
    query = Query(tenant=tenant, agent=agent, syscall=syscall, decision=decision, code=code)
    asked = Kernel.of(kernel)
    try:
        rows = asked.get(AUDIT, newest=lines, **_asked(query))["records"] if lines else []
        if not as_json:
            typer.echo(_HEAD)
        for row in rows:
            _show(row, as_json=as_json)
        if follow:
            _follow(asked, query, tenant, after=rows[-1]["seq"] if rows else None, as_json=as_json)
    except Failed as failed:
        _leave(failed)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _follow(asked: Kernel, query: Query, tenant: str | None, *, after: int | None, as_json: bool) -> None:
    """Follow the stream from where the page ended; where it breaks, come back to the same place."""
    while True:
        try:
            for row in asked.follow("/v1/events/stream", topics=event.SYSCALLS, tenant=tenant, since=after):
                after = row["seq"]
                if row.get("type") == "gap" or query.finds(json.dumps(row).encode()):
                    _show(row, as_json=as_json)
        except Failed as failed:
            if after is None:
                raise
            typer.echo(f"{failed}: again in a second", err=True)
        time.sleep(1.0)


def _pages(asked: Kernel, **query: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - of a URL
    at: int | None = 0
    while at is not None:
        page = asked.get(AUDIT, since=at, limit=PAGE, **query)
        yield from page["records"]
        at = page["next"]


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers; raises Failed at the first that is no JSON object."""
    try:
        stream = sys.stdin if str(file) == "-" else file.open(encoding="utf-8")
        with stream:
            for at, line in enumerate(stream, 1):
                if not line.strip():
                    continue
                try:
                    readable = isinstance(json.loads(line), dict)
                except ValueError:
                    readable = False
                if not readable:
                    raise Failed(f"{file}: line {at} is not a JSON object: the file cannot be read to its end")
                yield at, line
    except (OSError, UnicodeDecodeError) as unreadable:
        raise Failed(f"{file} cannot be read: {unreadable}") from None


def _found(file: Path, query: Query) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for _, line in _lines(file) if query.finds(line.encode()))


def _asked(query: Query) -> dict[str, Any]:
    return {field: getattr(query, field) for field in query.__struct_fields__}


def _ms(text: str, option: str) -> int:
    """`2h` ago, or a time, in ms since the epoch; 0 where nothing is said."""
    if not text:
        return 0
    if found := _AGO.fullmatch(text):
        return time.time_ns() // 1_000_000 - int(found[1]) * _UNIT_MS[found[2]]
    if ms := event.epoch_ms(text):
        return ms
    raise typer.BadParameter(f"got {text!r}, expected 90s, 15m, 2h, 7d, or 2026-11-25T10:00:00Z", param_hint=option)


_HEAD = f"{'TIME':<20}  {'DECISION':<8}  {'SYSCALL':<15}  {'SUBJECT':<24}  {'AGENT':<32}  {'MS':>9}  {'USD':>10}  {'AUDIT-ID':<29}  WHY"


def _show(row: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
    else:
        # Names in it are an agent's to choose: none may speak to the terminal.
        typer.echo("".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in line(row)))


def line(row: dict[str, Any]) -> str:
    """One event as a line of the table."""
    if row.get("type") == "gap":
        return f"{'':<20}  -- {row.get('lost')} events are not here: {row.get('reason')}"
    at = (
        str(row.get("ts", "")).partition(".")[0]
        or datetime.fromtimestamp(row.get("ts_ms", 0) / 1000, UTC).isoformat()[:19]
    )
    if row.get("type") == event.CHAIN:
        return f"{at:<20}  !! the chain {row.get('chain')} broke at record {row.get('n')}: {row.get('what')}"
    why = "  ".join(str(row[key]) for key in ("code", "rule") if row.get(key))
    agent = str(row.get("agent", "")).removeprefix("agent://")
    usd = ids.usd(row["micro_usd"]) if row.get("micro_usd") else ""
    told = (
        f"{at:<20}  {row.get('decision', ''):<8}  {row.get('syscall', ''):<15}  {row.get('subject', ''):<24}  {agent:<32}  "
        f"{row.get('latency_ms', 0):>9.1f}  {usd:>10}  {row.get('audit_id', ''):<29}  {why}"
    )
    return told.rstrip()


def _said(report: auditcheck.Report, *, of: str) -> Iterable[str]:
    for each in report.breaks:
        where = f" ({of} {each.at})" if each.at else ""
        yield f"{each.what.upper()}  {each.chain}: {each.said}{where}"
    yield from report.notes
    counted = f"{report.records} records in {report.chains} chains"
    yield f"{counted}: whole" if report.whole else f"{counted}: NOT whole, {len(report.breaks)} breaks"


def _leave(failed: Failed) -> None:
    typer.echo(str(failed), err=True)
    raise typer.Exit(UNREAD) from None
