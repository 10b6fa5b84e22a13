"""The cluster's long-lived processes: started once, recorded, found again, stopped by record only.

A record is a pid with its start time and the boot it belongs to: a pid alone may be somebody else's by
now. It must never stop a process by its name.
"""

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from clusters.failure import Failed
from clusters.native.layout import Layout

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
LOG_LIMIT = 64 * 1024 * 1024  # bytes: an appended log is turned over when it is past this


@dataclass(frozen=True)
class Record:
    """One started process. `digest` is of its arguments and configuration: a changed one is restarted."""

    name: str
    pid: int
    started: int  # clock ticks since boot, /proc/PID/stat field 22
    boot: str
    digest: str
    log: str

    @property
    def alive(self) -> bool:
        return self.boot == boot_id() and start_time(self.pid) == self.started


def boot_id() -> str:
    return BOOT_ID.read_text().strip()


def start_time(pid: int) -> int | None:
    """Return the process's start in clock ticks, or None where there is none or only its zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])


def recorded(layout: Layout) -> dict[str, Record]:
    """Read every record; one that cannot be read counts as absent."""
    found = {}
    for path in sorted(layout.records.glob("*.json")):
        try:
            found[path.stem] = Record(**json.loads(path.read_text()))
        except (ValueError, TypeError):  # torn by a power cut
            path.unlink()
    return found


def ensure(
    layout: Layout,
    name: str,
    argv: Sequence[str | Path],
    *,
    watch: Sequence[Path] = (),
    env: Mapping[str, str] | None = None,
) -> bool:
    """Have the process run with exactly these arguments and watched files; say whether it was (re)started."""
    words = [str(word) for word in argv]
    digest = _digest(words, watch)
    record = recorded(layout).get(name)
    if record and record.alive:
        if record.digest == digest:
            return False
        stop(record)
    _start(layout, name, words, digest=digest, env=env)
    return True


def stop(record: Record, *, grace: float = 5.0) -> None:
    """SIGTERM, then SIGKILL after the grace. Returns when the process is gone."""
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        if not record.alive:
            return
        try:
            os.kill(record.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while record.alive and time.monotonic() < deadline:
            time.sleep(0.02)
    if record.alive:
        raise Failed(
            f"{record.name} (pid {record.pid}) survives SIGKILL",
            log=Path(record.log),
            remedy="it hangs in the kernel: see dmesg, then reboot",
        )


def check_alive(layout: Layout, *names: str) -> None:
    """Raise Failed with the log of the first of these processes that has died."""
    records = recorded(layout)
    for name in names:
        if not (record := records.get(name)) or not record.alive:
            raise Failed(f"{name} died", log=layout.logs / f"{name}.log", remedy="its last words are below")


def _start(layout: Layout, name: str, argv: list[str], *, digest: str, env: Mapping[str, str] | None) -> None:
    log = layout.logs / f"{name}.log"
    for folder in (layout.logs, layout.records):
        folder.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".previous.log"))
    with log.open("ab") as file:
        file.write(f"==== {time.strftime('%F %T')} start: {' '.join(argv)}\n".encode())
        file.flush()
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
    record = Record(name, process.pid, start_time(process.pid) or 0, boot_id(), digest, str(log))
    path = layout.records / f"{name}.json"
    path.with_suffix(".new").write_text(json.dumps(asdict(record)))
    path.with_suffix(".new").replace(path)


def _digest(words: list[str], watch: Sequence[Path]) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    for path in watch:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
