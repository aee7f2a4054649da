"""Logs: JSON lines in a file or a pipe, readable lines on a terminal. Speech and secrets are never logged.

Log a constant event name and fields. The text of an exception may quote a caller or a key, so log only its type and
its code locations: `telemetry.logs.places(error)`.
"""

import logging
import re
import sys
import traceback
from typing import Any, TextIO

import structlog
from structlog.types import EventDict, Processor

QUIET = (  # log warnings and errors only
    "nats", "asyncio", "aiohttp.access", "httpx", "httpx2", "httpcore", "openai", "sqlalchemy", "websockets",
)  # fmt: skip

TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")  # LiveKit's SDK logs a token that the server refused


def configure(level: str = "info", stream: TextIO = sys.stderr, *, colours: bool | None = None) -> None:
    """Configure logging for the process: JSON lines unless `stream` is a terminal."""
    terminal = stream.isatty()
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=terminal if colours is None else colours)
        if terminal
        else structlog.processors.JSONRenderer()
    )
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.addFilter(_without_tokens)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    for name in QUIET:  # some of these libraries log audio or request bodies at debug
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))


def configure_command() -> None:
    """Log warnings to standard error, for a command whose standard output is data. Does nothing after `configure`."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            _drop_below_warning,
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=False),
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _drop_below_warning(_logger: object, method: str, event: EventDict) -> EventDict:
    if method in ("debug", "info"):
        raise structlog.DropEvent
    return event


def _without_tokens(record: logging.LogRecord) -> bool:
    """Remove tokens from a record of a library."""
    record.msg, record.args = TOKEN.sub("…", record.getMessage()), ()
    return True


def places(error: BaseException) -> list[str]:
    """Return an exception's code locations, innermost last, as `file:line function`, and its type, without its text."""
    if isinstance(error, BaseExceptionGroup):
        return [place for inner in error.exceptions for place in places(inner)]
    frames = traceback.extract_tb(error.__traceback__)
    return [*(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames), type(error).__name__]
