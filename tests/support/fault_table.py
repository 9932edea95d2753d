"""What clients get when their upstream misbehaves: one row for each behaviour of the faulty upstream."""

from __future__ import annotations

from typing import NamedTuple

from fault_room import NATIVE

OK = "ok"
LOST = "502 engine_lost"
BAD = "502 bad_answer"
GONE = "502 backend_unreachable"
SILENT = "504 backend_silent"
OWN = "own"
"""An error in the upstream's own words, where its client reads its language; else it is `upstream_error`."""


class Row(NamedTuple):
    """`plain` and `stream` are outcomes (see Got.outcome); `cut` means an error in a stream that had begun.

    `retry_after` is the header that clients get. Where a stand-in is configured, it answers if `stand_in` and nothing
    was sent yet; requests that are wrong in themselves get none. `times` says how often one request reaches the
    upstream at most. `except_` has other outcomes of streams by dialect. `either`: it is chance whether a stream has
    begun when it breaks.
    """

    says: str
    plain: str
    stream: str
    stand_in: bool = True
    retry_after: str | None = None
    times: int = 1
    either: bool = False
    except_: dict[str, str] = {}  # noqa: RUF012 - never changed

    def expected(self, dialect: str, *, stream: bool) -> set[str]:
        wanted = self.except_.get(dialect, self.stream) if stream else self.plain
        if wanted.endswith(OWN):
            return {wanted.replace(OWN, "upstream_error"), *([wanted] if dialect in ("openai", NATIVE) else [])}
        return {wanted, wanted.replace("cut", "502")} if self.either else {wanted}

    def answered_by_stand_in(self, dialect: str, *, stream: bool) -> bool:
        """Whether a stand-in, where there is one, makes good what went wrong."""
        outcomes = self.expected(dialect, stream=stream)
        return self.stand_in and not any(each == OK or each.startswith("cut") for each in outcomes)


def _refusal(says: str, outcome: str, *, stand_in: bool = True, retry_after: str | None = None) -> Row:
    return Row(says, outcome, outcome, stand_in=stand_in, retry_after=retry_after)


ROWS: dict[str, Row] = {
    "sturdy": Row("all is well", OK, OK),
    # The connection.
    "refuses": Row("refuses connections", GONE, GONE, times=0),
    # On a kept connection these look like one that its server was closing, so they are asked for once more.
    "resets_before_headers": Row("RST before the headers", LOST, LOST, times=2),
    "closes_before_headers": Row("closes before the headers", LOST, LOST, times=2),
    "resets_after_headers": Row("RST after the headers", LOST, LOST),
    "resets_after_3_tokens": Row("RST after 3 tokens", LOST, "cut engine_lost", either=True),
    "closes_after_3_tokens": Row("closes after 3 tokens", LOST, "cut engine_lost"),
    "ends_after_3_tokens": Row("ends in order after 3 tokens", BAD, "cut engine_lost"),
    "half_chunk": Row("half a chunk, then closes", LOST, LOST),
    "bad_chunk_size": Row("a chunk size that is no number", BAD, BAD),
    "closes_kept_connection": Row("closes a kept connection between two requests", OK, OK),
    "closes_at_second_request": Row("closes a kept connection when a request is on its way", OK, OK, times=2),
    "old_http": Row("HTTP/1.0 without a length", OK, OK),
    # The head.
    "interim_answers": Row("100, 102 and 103 before the answer", OK, OK),
    "endless_headers": Row("headers without an end", BAD, BAD),
    "header_too_large": Row("a header of 100 kB", BAD, BAD),
    "no_http": Row("speaks SSH", BAD, BAD),
    "switches_protocols": Row("101 Switching Protocols", BAD, BAD),
    "length_too_long": Row("Content-Length too long", LOST, OK),
    "length_too_short": Row("Content-Length too short", BAD, "cut engine_lost"),
    "no_content_type": Row("no Content-Type", OK, OK),
    "redirect": Row("307 to elsewhere", BAD, BAD),
    # The body.
    "slow_drip": Row("one byte at a time", OK, OK),
    "trailers": Row("chunks with trailers", OK, OK),
    "gzip_unasked": Row("gzip without being asked", OK, OK),
    "gzip_broken": Row("gzip that breaks off", BAD, "cut bad_answer", either=True),
    "invalid_utf8": Row("invalid UTF-8", OK, OK),
    "giant_line": Row(
        "a line of 17 MiB", OK, "cut upstream_error", stand_in=False,
        except_={"openai": OK, NATIVE: OK},
    ),
    "half_json": Row("half of the JSON, all lengths right", BAD, BAD),
    "html_page": Row("an HTML page under 200", BAD, BAD),
    "html_lines": Row("an HTML page of many lines under 200", BAD, BAD),
    "empty": Row("empty 200", BAD, BAD),
    "no_content": Row("204", BAD, BAD),
    "json_list": Row("a JSON list", BAD, BAD),
    "json_for_stream": Row("JSON where a stream was asked for", OK, OK),
    "stream_for_json": Row("a stream where JSON was asked for", BAD, OK),
    "stream_as_html": Row("a stream that calls itself text/html", OK, OK),
    "no_done": Row("finish_reason, but no [DONE]", OK, OK),
    # Errors.
    "status_400_with_key": _refusal("400 that quotes the key", "400 upstream_error", stand_in=False),
    "status_401": _refusal("401", "502 upstream_error"),
    "status_403": _refusal("403", "502 upstream_error"),
    "status_404_model": _refusal("404, no such model", "404 own"),
    "status_413": _refusal("413 as HTML", "413 upstream_error", stand_in=False),
    "status_429": _refusal("429 with Retry-After", "429 own", retry_after="17"),
    "status_500_text": _refusal("500 as text", "500 upstream_error"),
    "status_503": _refusal("503 with Retry-After", "503 upstream_error", retry_after="5"),
    "context_window": _refusal("400, context length", "400 own", stand_in=False),
    "content_filter": _refusal("400, content filter", "400 own", stand_in=False),
    "json_error_under_200": _refusal("a JSON error under 200", "502 own"),
    "error_event": _refusal("an error as the first event", "502 own"),
    "error_event_later": Row("an error event after 3 tokens", "502 own", "cut own"),
}  # fmt: skip

SILENCES: dict[str, Row] = {
    "silent_before_headers": Row("silent for ever before the headers", SILENT, SILENT),
    "silent_after_headers": Row("silent for ever after the headers", SILENT, SILENT),
    "silent_after_3_tokens": Row("silent for ever after 3 tokens", SILENT, "cut backend_silent"),
    "never_ends": Row("talks for ever", SILENT, "cut backend_silent"),
}
LIMITS = {"first_token_limit": 0.4, "stream_idle_limit": 0.4, "total_limit": 1.5}
"""Settings for the silences, in seconds."""
