"""Log lines as JSON, one object a line: for ``logging`` in any program, and for ``holdfast worker``."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import msgspec

from holdfast.failures import clean

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; anything else was given by who logged."""


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``, whatever was
    given as ``extra``, and ``exception`` and ``stack`` where there are some.

    Never raises: a value that JSON does not know is written as its text, and so is a message whose arguments do not
    fit. An extra field called like one of those has ``_`` behind its name.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        if record.exc_info or record.exc_text:
            fields["exception"] = self._exception(record)
        if record.stack_info:
            fields["stack"] = record.stack_info
        for name, value in vars(record).items():
            if name not in _OWN:
                fields[f"{name}_" if name in fields else name] = value
        return msgspec.json.encode({clean(name): _encoded(value) for name, value in fields.items()}).decode()

    def _exception(self, record: logging.LogRecord) -> str:
        try:
            return record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")
        except Exception as failure:
            return f"<it cannot be written: {type(failure).__name__}>"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        return f"{clean(record.msg)} {clean(record.args)}"


def _encoded(value: object) -> msgspec.Raw:
    try:
        return msgspec.Raw(msgspec.json.encode(value, enc_hook=clean))
    except Exception:  # it contains itself, keys that are no texts, or half a character
        return msgspec.Raw(msgspec.json.encode(clean(value)))
