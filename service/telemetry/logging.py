"""Structured logs on stderr: JSON lines, or coloured lines where stderr is a terminal.

`log.info("version_committed", size_bytes=…)`: one event name plus fields. The standard library's
loggers (aiohttp, asyncio) come out in the same form.
"""

from __future__ import annotations

import json
import logging
import sys
from functools import partial

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from service.settings import Telemetry


def configure_logging(settings: Telemetry, worker: int | None = None) -> None:
    """Set up the whole process; a later call replaces an earlier one.

    worker: which of several service processes this is, told in every line.
    """
    pretty = settings.log_format == "pretty" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    level = getattr(logging, settings.log_level.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if worker is not None:
        shared.append(partial(_tell_worker, worker))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(pretty=pretty),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("botocore", "aiobotocore", "pymongo", "asyncio"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))


def _tell_worker(worker: int, _logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Not by a context variable: threads do not inherit those."""
    event["worker"] = worker
    return event


def _renderers(*, pretty: bool) -> list[Processor]:
    if pretty:
        # Not rich's tracebacks: they read source files, on the event loop.
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.format_exc_info, _render_json]


def _render_json(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    """One line, whatever stands in the fields: CR and LF are escaped."""
    try:
        return orjson.dumps(event, default=str).decode()
    except TypeError:  # a lone surrogate, a number past 64 bits: slower, but never a lost line
        return json.dumps(event, default=str)
