"""The log of the service: a line for each request and each event, as text or as JSON.

No question and no key is logged.
"""

import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any

from pipeline.command_line.console import json_text
from pipeline.command_line.screen import printable_lines

_LOGGER = logging.getLogger("albeam.requests")
#: The loggers of the service, of what it opens, and of its server.
_NAMES = ("albeam", "pipeline.serving", "uvicorn.error")


def configure(form: str) -> None:
    """Send the log to stderr, in a form of `LOGS`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    for name in _NAMES:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").disabled = True


def log_request(fields: dict[str, Any]) -> None:
    """Log a request that has ended."""
    _LOGGER.info("request", extra={"fields": fields})


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        value = {"time": when, "level": record.levelname.lower(), "message": record.getMessage()}
        value |= getattr(record, "fields", {})
        if record.exc_info:
            value["error"] = self.formatException(record.exc_info)
        return json_text(value, ascii=True)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        fields = getattr(record, "fields", None)
        text = record.getMessage()
        if fields is not None:
            text = " ".join(f"{name}={value}" for name, value in fields.items())
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return printable_lines(f"{when} {record.levelname.lower()} {text}")
