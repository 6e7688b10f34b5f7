"""The server's log on stderr: a JSON object a line for programs, or a line of text for people.

The law of this file: a line has everything that is known of its record (gid, address, attempt, and what was handed
over as ``extra``) and no payloads, because nobody hands any over. Nothing that is logged can end the program.

The standard library's logging with a formatter of its own, and not structlog: Hypercorn, SQLAlchemy and the functions
of users log through it already, and the gid of a run must stand in their lines, too.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import datetime
from typing import Any

import msgspec

from flowtx_engine.runtime.speech import watch_records

# Whatever else stands in a record was handed over as ``extra``.
_KNOWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_LEVELS = {"WARNING": "warn", "CRITICAL": "error"}
"""DTM's names, where they differ (spec 8.3)."""

GRPC_READERS = ("grpc._common", "grpc._cython.cygrpc")
"""They log a stack for every message and every header of a client that cannot be read."""


def set_up_logging(*, level: str, form: str) -> None:
    """Log to stderr from this level on, in this form: json, text, or auto for what fits stderr."""
    # gRPC's library writes to stderr itself, in no form of ours, and repeats bytes that any client sent.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for name in GRPC_READERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    is_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if is_json else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    watch_records()


class JsonLines(logging.Formatter):
    """A record as a JSON object on one line: ``ts``, ``level``, ``logger``, ``caller``, ``msg``, then what is known."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "ts": _instant(record),
            "level": _LEVELS.get(record.levelname, record.levelname.lower()),
            "logger": record.name,
            "caller": f"{record.filename}:{record.lineno}",
            "msg": record.getMessage(),
            **_extra_of(record),
        }
        if record.exc_info:
            line["stacktrace"] = self.formatException(record.exc_info)
        # What JSON cannot say is said as text: losing a line of the log would be worse.
        return msgspec.json.encode(line, enc_hook=repr).decode()


class TextLines(logging.Formatter):
    """A record as text: the instant, the level, the logger, the message, then what is known."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback below it if there is one."""
        known = "".join(f" {name}={value}" for name, value in _extra_of(record).items())
        line = f"{_instant(record)} {record.levelname.lower()} {record.name}: {record.getMessage()}{known}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _extra_of(record: logging.LogRecord) -> dict[str, Any]:
    found = {name: value for name, value in record.__dict__.items() if name not in _KNOWN}
    return {name.removeprefix("flowtx_"): value for name, value in found.items() if name.startswith("flowtx_")} | {
        name: value for name, value in found.items() if not name.startswith("flowtx_")
    }


def _instant(record: logging.LogRecord) -> str:
    """ISO 8601 with milliseconds and zone, as DTM writes it (spec 8.3)."""
    return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
