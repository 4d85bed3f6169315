"""Logs for the journal: a priority systemd understands, the mesh and the node by name."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter  # takes no parameter before Python 3.11

_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class _JournalFormatter(logging.Formatter):
    def __init__(self, priorities: bool) -> None:
        super().__init__("%(message)s" if priorities else "%(asctime)s %(levelname)s %(message)s")
        self._priorities = priorities

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._priorities:
            return text
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines())


class NodeLogger(_Adapter):
    """Puts `mesh=… node=…` before each message."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[str, MutableMapping[str, Any]]:
        names = " ".join(f"{key}={value}" for key, value in (self.extra or {}).items())
        return (f"{names}: {msg}" if names else str(msg)), kwargs


def configure_logging(level: str, journal: bool) -> None:
    """Log to standard error; with `journal` each line carries a priority instead of a time."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JournalFormatter(journal))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
