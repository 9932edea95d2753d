"""Whether an answer comes piece by piece, as it is made."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import aiohttp

from quarterdeck.diagnosis.doctor.asking import refusal
from quarterdeck.diagnosis.doctor.calling import CUT_FIX
from quarterdeck.diagnosis.doctor.findings import Found, StepError, failed, ok, warn
from quarterdeck.diagnosis.doctor.visit import Visit

TOKENS = 48
_QUESTION = "Count from one to twenty in words."
_TOGETHER_S = 0.02
"""Events that come closer than this came together."""
_FEWEST = 4
_NOTICED_S = 0.4
_MOST_BYTES = 2 * 1024 * 1024

_BUFFERED_FIX = (
    "Switch buffering off in the web server on the way; in nginx: proxy_buffering off; "
    "in Apache: flushpackets=on; in Caddy: flush_interval -1. Leave text/event-stream out of compression too."
)


@dataclass(slots=True)
class Stream:
    """A stream as it came. `times` has the second of each event since the request; `rest` is what no line ended."""

    times: list[float] = field(default_factory=list)
    done: bool = False
    strange: int = 0
    error: str = ""
    rest: bytes = b""

    def feed(self, data: bytes, now: float) -> None:
        """Take in what arrived at `now`."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self._line(line.strip(), now)

    def _line(self, line: bytes, now: float) -> None:
        if not line or line.startswith((b":", b"event:", b"id:", b"retry:")):
            return
        if not line.startswith(b"data:"):
            self.strange += 1
            return
        data = line[5:].strip()
        if data == b"[DONE]":
            self.done = True
            return
        self.times.append(now)
        body = _json(data)
        if isinstance(body, dict) and body.get("error"):
            self.error = data.decode("utf-8", "replace")


def is_held_back(times: list[float], one_token_s: float) -> bool:
    """Whether something collected the events on the way and passed them on in heaps.

    The wait for the first event tells it: it should take as long as an answer of one token, not as long as all.
    """
    if len(times) < _FEWEST:
        return False
    heaps = [times[0]]
    for before, after in pairwise(times):
        if after - before > _TOGETHER_S:
            heaps.append(after)
    if len(heaps) == 1:
        return times[0] - one_token_s > max(_NOTICED_S, one_token_s)
    pauses = [after - before for before, after in pairwise(heaps)]
    return len(times) / len(heaps) >= _FEWEST * 2 and max(pauses) >= _NOTICED_S


async def check_stream(visit: Visit) -> Found:
    """A short answer, streamed, with the time of each piece."""
    messages = [{"role": "user", "content": _QUESTION}]
    fields = {"model": visit.model, "messages": messages, "max_tokens": TOKENS, "stream": True}  # fmt: skip
    headers = {**visit.headers, "Accept": "text/event-stream"}
    url = visit.at(f"{visit.api}/chat/completions")
    stream = Stream()
    began = time.perf_counter()
    try:
        async with visit.caller.open(
            "POST", url, headers=headers, fields=fields, limit=visit.limits.chat, quiet=visit.limits.quiet
        ) as answer:
            if answer.status >= 300:
                return refusal(answer.status, (await answer.content.read(_MOST_BYTES)).decode("utf-8", "replace"))
            await _read(stream, answer, began)
    except StepError as trouble:
        return _broken(stream, trouble)
    return _judge(visit, stream, answer, time.perf_counter() - began)


async def _read(stream: Stream, answer: aiohttp.ClientResponse, began: float) -> None:
    size = 0
    async for piece in answer.content.iter_any():
        stream.feed(piece, time.perf_counter() - began)
        size += len(piece)
        if size > _MOST_BYTES:
            break


def _broken(stream: Stream, trouble: StepError) -> Found:
    if not stream.times:
        return trouble.found
    if trouble.found.code == "no_answer_in_time":
        return failed(
            "stream_stalled",
            f"The stream stopped after {len(stream.times)} pieces and did not end.",
            "Look at the server's log; a web server in front may hold back the rest.",
        )
    return failed("stream_cut", f"The stream broke off after {len(stream.times)} pieces.", CUT_FIX)


def _judge(visit: Visit, stream: Stream, answer: aiohttp.ClientResponse, seconds: float) -> Found:
    if stream.error:
        return refusal(answer.status, stream.error)
    if not stream.times:
        return _no_events(stream, answer.content_type)
    first = stream.times[0]
    if is_held_back(stream.times, visit.one_token_s):
        finding = f"{len(stream.times)} pieces came in heaps, the first after {first:.1f} s"
        return failed("stream_buffered", f"{finding}: something on the way collects the stream.", _BUFFERED_FIX)
    if "Content-Length" in answer.headers and len(stream.times) > 1:
        finding = "The stream came with its length, so something had collected all of it before."
        return failed("stream_buffered", finding, _BUFFERED_FIX)
    told = f"{len(stream.times)} pieces came one by one, the first after {first:.1f} s, the last after {seconds:.1f} s."
    return _flaw(stream, answer) or ok(told)


def _flaw(stream: Stream, answer: aiohttp.ClientResponse) -> Found | None:
    if not stream.done:
        return warn(
            "stream_no_done",
            "The stream ended without its last line, [DONE]; some programs wait for it.",
            "Look for a limit that cuts it off, or update the server. Quarterdeck adds the line.",
        )
    if answer.content_type != "text/event-stream":
        return warn(
            "stream_wrong_type",
            f"The stream calls itself {answer.content_type or 'nothing'} in place of text/event-stream.",
            "Programs that look at the type do not read it: correct it in the server.",
        )
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        return warn(
            "stream_compressed",
            "The stream is compressed on the way, which can hold back pieces.",
            "Leave text/event-stream out of compression in the web server in front.",
        )
    return None


def _no_events(stream: Stream, kind: str) -> Found:
    if kind == "application/x-ndjson" or stream.strange > 1:
        return failed(
            "stream_ndjson",
            "The stream has the form of Ollama's own interface, not of OpenAI's.",
            "Use the path that ends with /v1.",
        )
    if kind == "text/event-stream":
        return failed("stream_empty", "The stream ended without a single piece.", "Look at the server's log.")
    return failed(
        "stream_ignored",
        "A stream was asked for, and the whole answer came at once.",
        "The server or a gateway cannot stream: switch streaming off in the client, or update the server.",
    )


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
