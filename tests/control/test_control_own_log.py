"""Our own log on its way into the book: levels, lines, what came before it and what comes after."""

from __future__ import annotations

import logging
from logging.handlers import MemoryHandler

from quarterdeck.backends.logs import LogBook
from quarterdeck.control.own_log import OWN_LOGGER, LogBookHandler, keep_in


def test_log_records_of_ours_come_into_the_book_line_by_line() -> None:
    book = LogBook("quarterdeck")
    handler = LogBookHandler(book, lambda call: call())
    record = logging.LogRecord("quarterdeck.core", logging.CRITICAL, __file__, 1, "broke: %s\nsecond", ("why",), None)
    handler.handle(record)
    assert [(line.level, line.text) for line in book.tail(5)] == [("error", "core: broke: why"), ("error", "second")]


def test_a_record_after_the_loop_has_closed_is_dropped() -> None:
    def closed(_call: object) -> None:
        raise RuntimeError("Event loop is closed")

    book = LogBook("quarterdeck")
    LogBookHandler(book, closed).handle(logging.LogRecord("quarterdeck", logging.INFO, "", 1, "late", (), None))
    assert book.tail(5) == []


def test_what_was_logged_before_comes_first_and_the_level_is_restored() -> None:
    logger = logging.getLogger(OWN_LOGGER)
    before = logger.level
    logger.addHandler(MemoryHandler(10, flushLevel=logging.CRITICAL + 1))
    logger.error("early")
    book = LogBook("quarterdeck")
    end = keep_in(book, lambda call: call(), "info")
    logger.info("later")
    end()
    logger.error("too late")
    assert [line.text.rpartition(" ")[2] for line in book.tail(5)] == ["early", "later"]
    assert (logger.level, logger.handlers) == (before, [])
