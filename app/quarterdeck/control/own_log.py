"""Our own log: records of the `quarterdeck` logger on their way into a LogBook and onto the console."""

from __future__ import annotations

import logging
from collections.abc import Callable
from logging.handlers import MemoryHandler, QueueHandler
from queue import SimpleQueue

from quarterdeck.backends.logs import LogBook

OWN_LOGGER = "quarterdeck"

Call = Callable[[Callable[[], object]], object]
"""Leads a call to the thread of the LogBook."""


class LogBookHandler(QueueHandler):
    """Brings our own log records into a LogBook on the thread that `call` leads to."""

    def __init__(self, book: LogBook, call: Call) -> None:
        super().__init__(SimpleQueue())
        self._book = book
        self._call = call

    def enqueue(self, record: logging.LogRecord) -> None:
        text = f"{record.name.removeprefix(OWN_LOGGER + '.')}: {record.getMessage()}"
        level = {"critical": "error"}.get(record.levelname.lower(), record.levelname.lower())
        try:
            self._call(lambda: self._book.add(text.splitlines(), level))
        except RuntimeError:
            # The loop is closed: the program is ending and nobody reads the ring any more.
            return


def keep_in(book: LogBook, call: Call, level: str) -> Callable[[], None]:
    """Write our log into `book` from now on, with what was logged before; returns what ends it."""
    logger = logging.getLogger(OWN_LOGGER)
    handler, level_before = LogBookHandler(book, call), logger.level
    for early in [each for each in logger.handlers if isinstance(each, MemoryHandler)]:
        early.setTarget(handler)
        early.close()
        logger.removeHandler(early)
    logger.setLevel(level.upper())
    logger.addHandler(handler)

    def end() -> None:
        logger.removeHandler(handler)
        logger.setLevel(level_before)

    return end


def log_to_console() -> None:
    """Show our warnings on stderr as well; what the log file holds is not affected."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger(OWN_LOGGER).addHandler(handler)
