"""Processes that are measured: each held to a core, ended for certain, and asked of the kernel what it used.

Apart because CPU time and memory are the kernel's to tell, not the process's own. It must never leave a process behind,
nor end one that it has not started.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clusters.failure import Failed

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
_RR_PRIORITY = 10
_END_S = 5


@dataclass(frozen=True)
class Cores:
    """Where the measured server runs, and where everything else that takes part."""

    server: int
    load: int

    @property
    def shared(self) -> bool:
        """Is there only one?"""
        return self.server == self.load


def cores() -> Cores:
    """The first and the last core that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[-1])


@contextlib.contextmanager
def held_to(core: int, *, realtime: bool = False) -> Iterator[None]:
    """Let what is started within run on this core only, and ahead of ordinary processes where `realtime` asks for it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        if realtime:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_RR_PRIORITY))
        yield
    except PermissionError:
        raise Failed(
            "this user may not schedule in real time", remedy="run it as root, or without --realtime"
        ) from None
    finally:
        if realtime:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, before)


class Process:
    """One that runs."""

    def __init__(self, process: subprocess.Popen[str], name: str, log: Path) -> None:
        self._process = process
        self.name = name
        self.log = log
        self.pid = process.pid

    def cpu_s(self) -> float:
        """CPU time of all its threads since it started, user and system. A tick is 10 ms: measure over seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S

    def rss_mib(self) -> float:
        """Resident memory now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE_MIB

    def announced(self) -> str:
        """The first line that it prints: its address. Raises Failed with its log where it ends instead."""
        assert self._process.stdout is not None
        if line := self._process.stdout.readline().strip():
            return line
        raise Failed(f"{self.name} did not start", log=self.log, remedy="its last words are below")

    def alive(self) -> bool:
        """Has it not ended?"""
        return self._process.poll() is None


@contextlib.contextmanager
def running(
    argv: Sequence[str | Path],
    *,
    name: str,
    log: Path,
    core: int,
    realtime: bool = False,
    env: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """Start it; it ends with the context."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as errors, held_to(core, realtime=realtime):
        process = subprocess.Popen(
            [str(word) for word in argv], stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, text=True,
            env={**os.environ, **(env or {})},
        )  # fmt: skip
    try:
        yield Process(process, name, log)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def core_busy_s(core: int) -> float:
    """Seconds that programs have run on a core since boot, idle and interrupts apart."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system = (int(field) for field in line.split()[1:4])
            return (user + nice + system) * TICK_S
    raise Failed(f"/proc/stat knows no cpu{core}")


def machine_busy_s() -> float:
    """The same for all cores that this process may use."""
    return sum(core_busy_s(core) for core in os.sched_getaffinity(0))
