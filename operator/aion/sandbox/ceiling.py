"""What no seccomp profile of ours may allow, whoever wrote it.

A policy object over the profile's JSON: `verify(profile)` returns None or raises ProfileTooWide with the rule that broke.
Apart from whoever makes profiles, so that a mistake in a generator and a mistake in this list must coincide to do harm.
It must never repair a profile, and never judge by a name what a rule's arguments say otherwise: for the calls that carry
an argument we rely on, only the exact comparisons below count as confined.

Why each: a deny-list on `family` is passed by AF_INET | 1 << 32 (the kernel truncates, seccomp does not), so sockets need
`==`; a 32-bit sub-architecture brings multiplexed socketcall(); io_uring opens sockets that seccomp never sees.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aion.sandbox import errors

AF_UNIX = 1
# NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
CLONE_NAMESPACES = 0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000
NATIVE = frozenset({"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"})
REFUSING = frozenset(
    {"SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP"}
)

FORBIDDEN: Mapping[str, frozenset[str]] = {
    "io_uring": frozenset({"io_uring_setup", "io_uring_enter", "io_uring_register"}),
    "bpf": frozenset({"bpf", "perf_event_open"}),
    "ptrace": frozenset({"ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "process_madvise", "kcmp"}),
    "mount": frozenset(
        {
            *("mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "open_tree_attr"),
            *("mount_setattr", "fsopen", "fsconfig", "fsmount", "fspick", "mknod", "mknodat", "swapon", "swapoff"),
        }
    ),
    "keyctl": frozenset({"keyctl", "add_key", "request_key"}),
    "userfaultfd": frozenset({"userfaultfd"}),
    "namespaces": frozenset({"unshare", "setns", "clone3"}),
    "sockets": frozenset({"socketcall"}),
    "kernel": frozenset(
        {
            *(
                "init_module",
                "finit_module",
                "delete_module",
                "kexec_load",
                "kexec_file_load",
                "reboot",
                "iopl",
                "ioperm",
            ),
            *("open_by_handle_at", "name_to_handle_at", "quotactl", "quotactl_fd", "acct", "syslog", "settimeofday"),
            *("clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname", "personality", "vhangup"),
            *("modify_ldt", "uselib", "lookup_dcookie", "nfsservctl", "fanotify_init"),
        }
    ),
    "identity": frozenset(
        {
            "setuid",
            "setgid",
            "setreuid",
            "setregid",
            "setresuid",
            "setresgid",
            "setgroups",
            "setfsuid",
            "setfsgid",
            "capset",
        }
    ),
}


@dataclass(frozen=True)
class SeccompProfile:
    """An OCI seccomp document, with the name it is reported by."""

    name: str
    document: Mapping[str, Any]


class Ceiling(Protocol):
    """Anything that can refuse a profile."""

    def verify(self, profile: SeccompProfile) -> None:
        """Return where the profile stays below; raise ProfileTooWide where not."""
        ...


@dataclass(frozen=True)
class AllOf:
    """Every one of them must agree."""

    parts: tuple[Ceiling, ...]

    def verify(self, profile: SeccompProfile) -> None:
        """Every part, in order; the first refusal stands."""
        for part in self.parts:
            part.verify(profile)


@dataclass(frozen=True)
class DeniesByDefault:
    """What no rule names is refused."""

    def verify(self, profile: SeccompProfile) -> None:
        """The default action must refuse."""
        action = profile.document.get("defaultAction")
        if action not in REFUSING:
            raise _too_wide(profile, f"defaultAction is {action!r}; use SCMP_ACT_ERRNO")


@dataclass(frozen=True)
class NativeOnly:
    """No 32-bit twin of the architecture, and none at all left to the runtime's choice."""

    def verify(self, profile: SeccompProfile) -> None:
        """Only architectures we name."""
        if "archMap" in profile.document:
            raise _too_wide(profile, "archMap may bring 32-bit sub-architectures; list `architectures`")
        named = profile.document.get("architectures") or ()
        if not named or (extra := set(named) - NATIVE):
            got = ", ".join(sorted(extra)) if named else "none"
            raise _too_wide(profile, f"architectures: got {got}, expected only {', '.join(sorted(NATIVE))}")


@dataclass(frozen=True)
class Withholds:
    """None of these calls is let through by any rule, whatever its arguments."""

    rule: str
    calls: frozenset[str]

    def verify(self, profile: SeccompProfile) -> None:
        """No rule may let one of the calls through."""
        for rule in _letting_through(profile):
            if found := self.calls & set(_names(rule)):
                raise _too_wide(profile, f"allows {', '.join(sorted(found))} ({self.rule})")


@dataclass(frozen=True)
class Confines:
    """These calls are let through only with this one argument comparison, exactly."""

    calls: frozenset[str]
    comparison: Mapping[str, int | str]

    def verify(self, profile: SeccompProfile) -> None:
        """Each rule for these calls carries the comparison, and only it."""
        for rule in _letting_through(profile):
            found = self.calls & set(_names(rule))
            if found and [_argument(a) for a in rule.get("args") or ()] != [self.comparison]:
                wanted = json.dumps(self.comparison, sort_keys=True)
                raise _too_wide(profile, f"allows {', '.join(sorted(found))} without exactly the argument {wanted}")


DEFAULT = AllOf(
    (
        DeniesByDefault(),
        NativeOnly(),
        *(Withholds(rule, calls) for rule, calls in FORBIDDEN.items()),
        Confines(frozenset({"socket", "socketpair"}), {"index": 0, "op": "SCMP_CMP_EQ", "value": AF_UNIX}),
        Confines(
            frozenset({"clone"}), {"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": CLONE_NAMESPACES, "valueTwo": 0}
        ),
    )
)


def parse(body: bytes, *, name: str) -> SeccompProfile:
    """Read a profile's bytes. Raises ProfileTooWide where they are not a JSON object: what cannot be read is not trusted."""
    try:
        document = json.loads(body)
    except ValueError as error:
        raise errors.ProfileTooWide(f"{name}: not JSON: {error}") from error
    if not isinstance(document, dict):
        raise errors.ProfileTooWide(f"{name}: expected a JSON object, got {type(document).__name__}")
    return SeccompProfile(name, document)


def _letting_through(profile: SeccompProfile) -> Sequence[Mapping[str, Any]]:
    return [rule for rule in profile.document.get("syscalls") or () if rule.get("action") not in REFUSING]


def _names(rule: Mapping[str, Any]) -> Sequence[str]:
    return [*(rule.get("names") or ()), *([rule["name"]] if "name" in rule else [])]


def _argument(raw: Mapping[str, Any]) -> Mapping[str, int | str]:
    """An argument test without the zero that some writers spell out and others leave away."""
    kept = {key: raw[key] for key in ("index", "op", "value") if key in raw}
    if raw.get("op") == "SCMP_CMP_MASKED_EQ" or raw.get("valueTwo"):
        kept["valueTwo"] = raw.get("valueTwo", 0)
    return kept


def _too_wide(profile: SeccompProfile, why: str) -> errors.ProfileTooWide:
    return errors.ProfileTooWide(f"seccomp profile {profile.name!r}: {why}")
