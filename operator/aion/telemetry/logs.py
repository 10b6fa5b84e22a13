"""Logs: one JSON object a line on standard output, with the keys that log queries rely on.

Apart so that every process writes the same keys: `ts level event tenant agent syscall decision audit_id trace_id span_id
policy revision`, and whatever else an event has to say. The standard library's `logging` (uvicorn, aiohttp) goes
through the same renderer. It must never be called on the path of a syscall that succeeds, and never be given a secret
or a body.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import TextIO

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

KEYS = (
    "ts", "level", "event", "tenant", "agent", "syscall", "decision",
    "audit_id", "trace_id", "span_id", "policy", "revision",
)  # fmt: skip
"""The contract's keys, in the order in which they stand in a line."""

_encode = msgspec.json.Encoder(enc_hook=repr).encode


def configure(*, level: str = "info", stream: TextIO | None = None, **constant: str) -> None:
    """Send this process's logs to `stream` (standard output) as JSON lines that all carry `constant`.

    Raises ValueError for a level that is not one of debug, info, warning, error.
    """
    threshold = logging.getLevelNamesMapping().get(level.upper())
    if threshold is None:
        raise ValueError(f"got log level {level!r}, expected one of debug, info, warning, error")
    out = stream or sys.stdout
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        _with(constant),
    ]
    structlog.configure(
        processors=[*shared, _render],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _render],
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)


def get(name: str) -> FilteringBoundLogger:
    """A logger whose lines say which part of the process wrote them."""
    logger: FilteringBoundLogger = structlog.get_logger(part=name)
    return logger


def _with(constant: MutableMapping[str, str]) -> Processor:
    fixed = {key: value for key, value in constant.items() if value}

    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for key, value in fixed.items():
            event.setdefault(key, value)
        return event

    return add


def _render(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    ordered = {key: event.pop(key) for key in KEYS if key in event}
    whole = {**ordered, **{str(key): value for key, value in event.items()}}
    try:
        return _encode(whole).decode()
    except (TypeError, ValueError, RecursionError):
        # A key that JSON has not, half a character, a circle: a line of log must never be what breaks its writer.
        return _encode({key: value if _plain(value) else repr(value) for key, value in whole.items()}).decode()


def _plain(value: object) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, str) and value.isascii())
